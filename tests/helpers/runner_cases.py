"""What tests of runners share: the kinds of decoding, codes by a runner, and a step in the middle of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.device_decoder import DeviceDecoder, DeviceDecoders
from edgetts.backends.runners import EagerRunner, Runner
from edgetts.backends.step_state import KEY_BUCKET
from edgetts.backends.step_watch import WatchedRunner
from edgetts.decoding.decode import DecodeResult, generate_codes
from edgetts.decoding.settings import DecodeSettings
from edgetts.models.gpt import GPT
from helpers.small_gpt import small_gpt, small_prompt

KINDS = [(n_beams, do_sample) for n_beams in (1, 3) for do_sample in (False, True)]
kinds = pytest.mark.parametrize(("n_beams", "do_sample"), KINDS)


def settings_of(n_beams: int, do_sample: bool, max_codes: int) -> DecodeSettings:
    return DecodeSettings(n_beams=n_beams, do_sample=do_sample, max_codes=max_codes, repetition_penalty=1.2)


def codes_by(gpt: GPT, settings: DecodeSettings, make_runner: Callable[[], Runner] | None) -> DecodeResult:
    pool = None if make_runner is None else DeviceDecoders(gpt, make_runner)
    generator = torch.Generator().manual_seed(1) if settings.do_sample else None
    return generate_codes(gpt, small_prompt(gpt), settings, generator, decoders=pool)


def watched_step() -> tuple[DecodeStep, Callable[[Callable[[DecodeStep], Any]], None]]:
    """A step in the middle of a text, and what runs something else in its place."""
    gpt = small_gpt()
    decoder = DeviceDecoder(gpt, 1, EagerRunner())
    decoder.prefill(small_prompt(gpt), settings_of(1, False, 20), None)
    assert decoder._step is not None

    def run(body: Callable[[DecodeStep], Any]) -> None:
        with torch.inference_mode():
            WatchedRunner(lambda step, bucket: body(step)).run(step, KEY_BUCKET)

    step = decoder._step
    return step, run
