"""HQQ: smaller errors than rounding, without data."""

from __future__ import annotations

import pytest
import torch

from edgetts.pack.schemes import Quantized, int4_zero_points
from edgetts.quant import hqq
from edgetts.quant.schemes import SchemeRule, int4_grid, round_to_nearest


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("heavy_tails", [False, True])
def test_errors_are_smaller_than_of_rounding(group: int, heavy_tails: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 512, generator=generator)
    weight = (weight**3 if heavy_tails else weight) * 0.02
    rule = SchemeRule("*", "int4_group", group, "hqq")

    def error(parts: object) -> tuple[float, float]:
        decoded = Quantized("int4_group", group, (64, 512), parts).decode()  # type: ignore[arg-type]
        return float((decoded - weight).square().mean()), float((decoded - weight).abs().mean())

    squared, absolute = error(hqq.encode("w", weight, rule))
    plain_squared, plain_absolute = error(round_to_nearest("w", weight, rule))
    assert squared < 0.99 * plain_squared and absolute < 0.99 * plain_absolute


def test_zero_points_never_get_worse_and_edges_hold() -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    weight[0], weight[1], weight[2] = 0.0, 5.0, -5.0 - weight[2].abs()
    scales, zeros = int4_grid(weight, 32)
    better = hqq.better_zeros(weight, scales, zeros)
    steps = scales.float().unsqueeze(-1).clamp_min(1e-9)
    groups = weight.reshape(16, 2, 32) / steps
    before, after = (hqq._cost(groups, int4_zero_points(z).unsqueeze(-1)) for z in (zeros, better))
    assert (after <= before).all() and (after < before).any()
    decoded = Quantized("int4_group", 32, (16, 64), hqq.encode("w", weight, SchemeRule("*", "int4_group", 32, "hqq")))
    assert torch.isfinite(decoded.decode()).all() and (decoded.decode()[0] == 0).all()


def test_rows_do_not_depend_on_how_many_are_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(9, 64, generator=torch.Generator().manual_seed(1))
    rule = SchemeRule("*", "int4_group", 32, "hqq")
    whole = hqq.encode("w", weight, rule)
    monkeypatch.setattr("edgetts.quant.hqq._CHUNK_VALUES", 100)
    in_parts = hqq.encode("w", weight, rule)
    assert all(torch.equal(whole[name], in_parts[name]) for name in whole)
