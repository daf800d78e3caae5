"""Plain networks are emptied part by part while their other form is made, and pages of files are given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgetts.backends import prepare
from edgetts.models import registry
from edgetts.models.bigvgan import BigVGAN
from edgetts.pack import load
from edgetts.pack.page_release import drop_weights

CPU = torch.device("cpu")


def n_values(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_dropped_weights_are_empty() -> None:
    layer = nn.Linear(8, 8)
    kept = layer.weight.detach()
    drop_weights(layer)
    assert n_values(layer) == 0 and kept.shape == (8, 8) and layer.weight.dtype == torch.float32


@pytest.mark.parametrize("compute", ["exact", "fast"])
def test_the_plain_vocoder_is_dropped_block_by_block(
    mini_pack: Path, compute: prepare.Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = load.open_pack(mini_pack)
    vocoder = registry.VOCODER.load(pack, CPU)
    whole, left = n_values(vocoder), []

    def watched(module: nn.Module) -> None:
        drop_weights(module)
        left.append(n_values(vocoder))

    monkeypatch.setattr(prepare, "drop_weights", watched)
    fast, done = prepare.prepare_vocoder(vocoder, compute, CPU)
    if not done.fused_activations:
        pytest.skip("the compiled kernels were not built: the network stays as it is")
    assert len(left) > 10 and left == sorted(left, reverse=True)
    assert left[-1] < 0.1 * whole
    with torch.inference_mode():
        assert fast(torch.zeros(1, pack.config.vocoder.n_mels, 8)).isfinite().all()


@pytest.mark.parametrize("compute", ["exact", "fast"])
def test_the_layers_of_the_plain_dit_are_dropped(mini_pack: Path, compute: prepare.Compute) -> None:
    s2mel = registry.S2MEL.load(load.open_pack(mini_pack), CPU)
    layers = s2mel.cfm.estimator.transformer.layers
    assert n_values(layers) > 0
    prepare.prepare_s2mel(s2mel, compute, CPU)
    assert n_values(layers) == 0


def test_pages_are_given_back_while_a_file_is_read(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numbers are converted; a tensor that is used in place stays."""
    given: list[Tensor] = []
    monkeypatch.setattr(load, "give_back_whole", given.append)
    monkeypatch.setattr(load, "_RELEASE_EVERY_BYTES", 1 << 16)
    pack = load.open_pack(mini_pack)
    wide = pack.state_dict("vocoder", CPU)
    n_first = len(given)
    pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder), dtype=torch.float16)
    n_bytes = sum(value.nbytes for value in wide.values())
    assert len(given) - n_first > n_bytes / (1 << 17) / 2 > 1
