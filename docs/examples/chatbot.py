"""A chatbot that speaks: sound starts with the first clause of an answer, while the rest is still being written.

python chatbot.py                  type a question and hear the answer; an empty line ends
python chatbot.py --save answer    write answer-1.wav, answer-2.wav ... instead of playing
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from edgetts import TTS


def answer(question: str) -> Iterator[str]:
    """A stand-in for your language model: its answer arrives in pieces that end anywhere."""
    text = f"You asked: {question.rstrip('?.! ')}. That is a good question. I will think about it."
    for start in range(0, len(text), 4):
        time.sleep(0.01)  # a model that writes 400 characters a second
        yield text[start : start + 4]


def speak(tts: TTS, pieces: Iterator[str], voice: str | None, target: Path | None) -> None:
    """Play the text that arrives, or write it to `target`."""
    with tts.stream(pieces, voice) as stream:
        if target is None:
            stream.play()
        else:
            samples = np.concatenate([chunk.samples for chunk in stream])
            soundfile.write(target, samples, stream.sample_rate)
        for notice in stream.notices:
            print(notice)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", help="a name, a voice file or a recording")
    parser.add_argument("--save", metavar="PREFIX", help="write files instead of playing")
    given = parser.parse_args()
    with TTS.load() as tts:
        number = 0
        while question := input("> ").strip():
            number += 1
            speak(tts, answer(question), given.voice, Path(f"{given.save}-{number}.wav") if given.save else None)


if __name__ == "__main__":
    main()
