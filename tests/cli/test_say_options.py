"""The help of `edgetts say` names the defaults of `SynthesisOptions`, which are written down nowhere else."""

from __future__ import annotations

import typing

import pytest

from edgetts.cli.say import options
from edgetts.options import SynthesisOptions

KNOBS = {
    "MaxSegmentTokensOption": "max_segment_tokens",
    "TemperatureOption": "temperature",
    "TopKOption": "top_k",
    "TopPOption": "top_p",
    "RepetitionPenaltyOption": "repetition_penalty",
    "LengthPenaltyOption": "length_penalty",
    "BeamsOption": "n_beams",
    "MaxCodesOption": "max_codes",
    "StepsOption": "n_steps",
    "SolverOption": "solver",
    "CfgRateOption": "cfg_rate",
    "CfgUntilOption": "cfg_until",
    "SwayOption": "sway",
    "NoiseScaleOption": "noise_scale",
    "RetriesOption": "retries",
}


@pytest.mark.parametrize(("option", "field"), KNOBS.items())
def test_help_ends_with_the_default(option: str, field: str) -> None:
    default = getattr(SynthesisOptions(), field)
    info = typing.get_args(getattr(options, option))[1]
    shown = info.help.rpartition(" [")[2].removesuffix("]")
    assert type(default)(shown) == default
