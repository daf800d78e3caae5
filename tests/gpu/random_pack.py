"""A full-size pack that was never on a disk: the published dimensions, weights drawn on the device.

In: a configuration and a device. Out: what `Pipeline` reads of a pack. Its GPT never chooses the stop code, so the
number of codes is the caller's. It speaks noise, in as much time and memory as a real pack takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from edgetts.pack.config import ModelConfig
from edgetts.pack.meta_init import ModuleT, init_on_meta
from edgetts.pack.schemes import SCHEMES, ZERO_STEPS, Quantized

CONFIG = Path(__file__).parents[1] / "data" / "config"
NEVER = -1e4  # the bias of the stop code
_UNIFORM_DEVIATION = {"int4_group": 4.6, "int8_channel": 73.3}  # of codes that are drawn evenly


def published_config(size: str = "full") -> ModelConfig:
    """The dimensions of IndexTTS-2; size mini: those of the small synthetic checkpoints."""
    from edgetts.quant.upstream_config import model_config, read_upstream_config

    folder = CONFIG / size
    return model_config(read_upstream_config(folder / "config.yaml"), folder / "w2vbert.json", folder / "bigvgan.json")


class RandomPack:
    """scheme, group: of the GPT's linear layers, with the head in int8, as the recipes have it; None: fp32 weights."""

    path = Path("random")
    code_sounds_path = None  # drawn codes are no sounds

    def __init__(self, config: ModelConfig, scheme: str | None = "int4_group", group: int | None = 32) -> None:
        self.config = config
        self.scheme, self.group = scheme, group
        self.manifest = SimpleNamespace(
            name="random", files={}, encoder_id="0" * 64, s2mel_id="0" * 64, defaults={}, quality=None, without=(),
            components={}, ready_voices=dict, model=config, family="indextts-2",
        )  # fmt: skip

    def check_unchanged(self) -> None:
        """There is no file that could change."""

    def module(
        self,
        component: str,
        factory: Callable[[], ModuleT],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        prefix: str = "",
        replace: Callable[[nn.Module, Mapping[str, Quantized]], Collection[str]] | None = None,
    ) -> ModuleT:
        """The network with drawn weights; the same ones whenever it is asked for on the same device."""
        module = init_on_meta(factory)
        generator = torch.Generator(device).manual_seed(sum(component.encode()))
        taken: Collection[str] = ()
        if replace is not None and self.scheme is not None:
            linears = [n for n, layer in module.named_modules() if type(layer) is nn.Linear]
            quantized = {f"{n}.weight": self._quantized(module.get_submodule(n), n, generator) for n in linears}
            taken = frozenset(replace(module, quantized))
        expected = {n: t for n, t in module.state_dict().items() if n not in taken}
        tensors = {n: _drawn(n, t, generator, dtype) for n, t in expected.items()}
        if component == "gpt":
            tensors["mel_head.bias"][self.config.gpt.stop_mel_token] = NEVER
        module.load_state_dict(tensors, strict=False, assign=True)
        assert not [n for n, t in (*module.named_parameters(), *module.named_buffers()) if t.is_meta]
        return module.eval().requires_grad_(False)

    def state_dict(self, component: str, device: torch.device | str = "cpu", **_: Any) -> dict[str, Tensor]:
        """The two matrices of emotions."""
        assert component == "emotion"
        generator = torch.Generator(device).manual_seed(0)
        rows = sum(self.config.emotion.group_sizes)
        widths = {
            "speaker_matrix": self.config.speaker_encoder.embedding_size,
            "emotion_matrix": self.config.gpt.model_dim,
        }
        return {n: torch.randn(rows, width, generator=generator, device=device) for n, width in widths.items()}

    def _quantized(self, layer: nn.Module, name: str, generator: torch.Generator) -> Quantized:
        shape = tuple(layer.weight.shape)
        scheme, group = (self.scheme, self.group) if name != "mel_head" else ("int8_channel", None)
        assert scheme is not None
        layout, where = SCHEMES[scheme].layout(shape, group), generator.device
        scale = 1 / (_UNIFORM_DEVIATION[scheme] * shape[1] ** 0.5)
        parts = {
            part: torch.randint(0, 256, layout[part], generator=generator, device=where, dtype=torch.uint8).view(dtype)
            if part == "codes"
            else torch.full(layout[part], 8 * ZERO_STEPS if part == "zeros" else scale, dtype=dtype, device=where)
            for part, dtype in SCHEMES[scheme].parts.items()
        }
        return Quantized(scheme, group, shape, parts)


def _drawn(name: str, like: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Norms do nothing, biases are 0, matrices keep the size of what goes through them."""
    where = generator.device
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype, device=where)
    if like.dim() < 2:
        is_gain = name.endswith(("weight", "gamma", "g")) or ("norm" in name and "bias" not in name)
        return torch.full(like.shape, 1.0 if is_gain else 0.0, dtype=dtype, device=where)
    fan_in = like[0].numel()
    return (torch.randn(like.shape, generator=generator, device=where) / fan_in**0.5).to(dtype)
