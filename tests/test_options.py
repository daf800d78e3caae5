"""Synthesis options: typed, ranged, and layered over the pack's defaults."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.errors import PackError, UsageError
from edgetts.options import PRESETS, SynthesisOptions, preset_options

_WORDS = {"n_steps": "flow steps", "first_steps": "flow steps", "solver": "flow solver", "cfg_rate": "guidance rate"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 1.5),
        ("repetition_penalty", 0.0),
        ("length_penalty", 11.0),
        ("n_beams", 0),
        ("n_beams", 17),
        ("max_codes", 0),
        ("n_steps", 0),
        ("solver", "rk45"),
        ("cfg_rate", -0.1),
        ("max_segment_tokens", 5),
        ("seed", -1),
        ("retries", 9),
        ("top_k", 3.5),
        ("do_sample", 1),
        ("n_beams", True),
        ("first_steps", 0),
        ("prompt_s", 0.1),
        ("cfg_until", 1.2),
        ("sway", -2.0),
        ("noise_scale", -0.1),
        ("tail_s", -0.1),
        ("tail_s", 1.1),
        ("tail_s", float("nan")),
        ("adapt_steps", -1),
        ("adapt_steps", 2001),
        ("adapt_steps", 1.5),
        ("noise_scale", 2.5),
        ("prompt_s", float("nan")),
    ],
)
def test_refuses_with_name_and_value(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=_WORDS.get(name, name)) as caught:
        SynthesisOptions(**{name: value})  # type: ignore[arg-type]
    assert str(value) in str(caught.value)


def test_a_whole_number_is_a_float() -> None:
    assert SynthesisOptions(temperature=1).decode_settings(10).temperature == 1


def test_the_caller_wins_over_the_pack_and_the_pack_over_upstream() -> None:
    options = SynthesisOptions.of({"n_steps": 10, "n_beams": 1}, {"n_steps": 4})
    assert (options.n_steps, options.n_beams, options.top_k) == (4, 1, 30)


def test_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean temperature"):
        SynthesisOptions.of({}, {"temperatur": 1.0})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_options_and_the_caller_wins(name: str) -> None:
    options = SynthesisOptions.of({}, {**preset_options(name), "n_steps": 3})
    assert options.n_steps == 3 and options.solver == PRESETS[name]["solver"]
    assert options.first_flow_settings() == options.flow_settings()


def test_the_best_preset_is_what_nothing_gives_and_the_others_do_less() -> None:
    assert SynthesisOptions.of({}, preset_options("best")) == SynthesisOptions.of({}, preset_options(None))
    settings = [SynthesisOptions.of({}, preset_options(name)).flow_settings() for name in PRESETS]
    work = [each.n_evals * each.rows_per_eval for each in settings]
    assert work == sorted(work, reverse=True)
    with pytest.raises(UsageError, match="'slow'; choose one of best, balanced, fast"):
        preset_options("slow")


_HUGE = 10**400
_OTHER_TYPES: tuple[Any, ...] = (
    None, "x", "1", b"1", [], {}, (1,), object(), 1j, float("nan"), float("inf"), -float("inf"), _HUGE, -_HUGE,
    np.float32("nan"), np.array([1, 2]), np.datetime64("2026-01-01"), Decimal("1"),
)  # fmt: skip
_NUMBERS = [f.name for f in dataclasses.fields(SynthesisOptions) if "int" in str(f.type) or "float" in str(f.type)]
_MAY_BE_NONE = {"first_steps", "language", "prompt_s", "seed"}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(SynthesisOptions)])
def test_other_types_and_endless_numbers_are_one_sentence(name: str) -> None:
    """For whatever a caller or a pack can put there; the caller's is misuse, the pack's is a bad pack."""
    for value in (*_OTHER_TYPES, *([True, np.True_] if name in _NUMBERS else [1, 1.0, np.int64(1)])):
        if value is None and name in _MAY_BE_NONE:
            continue
        with pytest.raises(UsageError) as caught:
            SynthesisOptions.of({}, {name: value})
        assert len(str(caught.value)) < 300 and str(caught.value).endswith(".")
        with pytest.raises(PackError, match="default options of this pack") as refused:
            SynthesisOptions.of({name: value}, {})
        assert refused.value.exit_code == 1


def test_what_the_caller_gives_does_not_mend_a_pack() -> None:
    with pytest.raises(PackError, match="prompt_s"):
        SynthesisOptions.of({"prompt_s": "x"}, {"prompt_s": 3.0})


def test_numbers_of_numpy_count_as_what_they_are() -> None:
    options = SynthesisOptions(
        temperature=np.float32(0.5), n_steps=np.int64(7), guards=np.False_, seed=np.uint8(3), prompt_s=np.array(2)
    )
    assert options == SynthesisOptions(temperature=0.5, n_steps=7, guards=False, seed=3, prompt_s=2.0)
    assert [type(getattr(options, n)) for n in ("temperature", "n_steps", "guards", "seed")] == [float, int, bool, int]


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from([f.name for f in dataclasses.fields(SynthesisOptions)]) | st.text(max_size=60),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2),
)
def test_any_value_is_taken_or_refused(name: str, value: Any) -> None:
    try:
        options = SynthesisOptions.of({}, {name: value})
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert getattr(options, name) == value
