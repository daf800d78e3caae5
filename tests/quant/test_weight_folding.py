from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from edgetts.quant.folding import fold_weight_norm, folded_weight, transpose_conv1d
from edgetts.quant.lazy import LazyTensor


def lazy(**tensors: torch.Tensor) -> dict[str, LazyTensor]:
    return {name.replace("__", "."): LazyTensor.of(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "layer",
    [nn.Conv1d(24, 48, 7), nn.ConvTranspose1d(64, 32, 8), nn.Linear(80, 512), nn.Conv1d(24, 1, 7, bias=False)],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equals_torch(layer: nn.Module) -> None:
    normed = weight_norm(layer)
    with torch.no_grad():
        normed.weight_g.mul_(1 + torch.rand_like(normed.weight_g))
    state = normed.state_dict()
    expected = torch._weight_norm(state["weight_v"], state["weight_g"], 0)
    folded = folded_weight(state["weight_g"], state["weight_v"])
    assert folded.dtype == torch.float32
    assert (folded - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_only_whole_pairs_are_folded() -> None:
    v, g = torch.randn(4, 3, 2), torch.rand(4, 1, 1)
    folded = fold_weight_norm(
        lazy(a__weight_v=v, a__weight_g=g, a__bias=g, b__weight_v=v, c__weight_g=g, d__weight_v=v, d__weight_g=g[:3])
    )
    assert set(folded) == {"a.weight", "a.bias", "b.weight_v", "c.weight_g", "d.weight_v", "d.weight_g"}
    assert folded["a.weight"].shape == (4, 3, 2)
    torch.testing.assert_close(folded["a.weight"].load(), v * g / v.flatten(1).norm(dim=1).view(4, 1, 1))


def test_only_gpt2_matrices_are_transposed() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    tensors = {
        name: LazyTensor.of(matrix)
        for name in ("gpt.h.11.attn.c_attn.weight", "gpt.h.0.mlp.c_proj.weight", "mel_head.weight", "gpt.wte.weight")
    }
    turned = {name: tensor.shape for name, tensor in transpose_conv1d(tensors).items()}
    assert turned == {
        "gpt.h.11.attn.c_attn.weight": (3, 2),
        "gpt.h.0.mlp.c_proj.weight": (3, 2),
        "mel_head.weight": (2, 3),
        "gpt.wte.weight": (2, 3),
    }
    assert torch.equal(transpose_conv1d(tensors)["gpt.h.0.mlp.c_proj.weight"].load(), matrix.t())
