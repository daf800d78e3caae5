"""Subtitles in both formats, to the millisecond."""

from __future__ import annotations

from edgetts.audio.subtitles import srt, vtt

CUES = [("Hello  there,\n\nyou.", 0.0, 1.2345), ("1 < 2 & 3 --> 4", 59.9996, 3725.5)]


def test_srt() -> None:
    assert srt(CUES) == (
        "1\n00:00:00,000 --> 00:00:01,234\nHello there, you.\n\n2\n00:01:00,000 --> 01:02:05,500\n1 < 2 & 3 --> 4\n"
    )


def test_vtt() -> None:
    assert vtt(CUES) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nHello there, you.\n\n"
        "00:01:00.000 --> 01:02:05.500\n1 &lt; 2 &amp; 3 --&gt; 4\n"
    )


def test_nothing() -> None:
    assert srt([]) == "" and vtt([]) == "WEBVTT\n"
