"""RepCodec: semantic features to codes and back, with ConvNeXt stacks and one small codebook.

In: semantic features normalized by the model's statistics, 50 per second. Out: one code per frame, and the quantized
features that replace the originals. It does not know speech, text or mel spectrograms. Synthesis needs only
`Quantizer.lookup`; the encoder is for enrollment, the decoder for training a codec.

The codebook is factorized: features are projected to a few dimensions, matched by cosine similarity, projected back.

Sources: Huang et al., "RepCodec" (2023); Wang et al., "MaskGCT" (2024), section 3.2.1; Yu et al.,
"Vector-quantized Image Modeling with Improved VQGAN" (2021) for the factorized codes; Siuzdak, "Vocos"
(2023) for the backbone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.pack.config import SemanticCodecConfig

# The decoder from codes to features: IndexTTS-2 uses the GPT's latents instead.
EXPECTED_EXTRAS = ("decoder.*",)

CONV_KERNEL_SIZE = 7
LAYER_NORM_EPS = 1e-6


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int, intermediate_dim: int, initial_scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, CONV_KERNEL_SIZE, padding=CONV_KERNEL_SIZE // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(dim, intermediate_dim)
        self.pwconv2 = nn.Linear(intermediate_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), initial_scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C), mask (B, T, 1) bool or None -> (B, T, C)."""
        out: Tensor = self.dwconv(_zero_padding(x, mask).transpose(1, 2)).transpose(1, 2)  # (B, T, C)
        out = self.pwconv2(F.gelu(self.pwconv1(self.norm(out))))
        result: Tensor = x + self.gamma * out
        return result


class ConvNeXtStack(nn.Module):
    def __init__(self, input_dim: int, dim: int, intermediate_dim: int, n_layers: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(input_dim, dim, CONV_KERNEL_SIZE, padding=CONV_KERNEL_SIZE // 2)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, intermediate_dim, initial_scale=1 / n_layers) for _ in range(n_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C_in), mask (B, T, 1) bool or None -> (B, T, C)."""
        x = self.norm(self.embed(_zero_padding(x, mask).transpose(1, 2)).transpose(1, 2))  # (B, T, C)
        for block in self.convnext:
            x = block(x, mask)
        out: Tensor = self.final_layer_norm(x)
        return out


class Backbone(nn.Sequential):
    """A ConvNeXt stack and a linear layer back to the feature width: keys `0.…` and `1.…`."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__(
            ConvNeXtStack(config.hidden_size, config.vocos_dim, config.vocos_intermediate_dim, config.vocos_n_layers),
            nn.Linear(config.vocos_dim, config.hidden_size),
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, C), mask (B, T) or None -> (B, T, C)."""
        stack, linear = self
        out: Tensor = linear(stack(x, None if mask is None else mask.bool()[:, :, None]))
        return out


class FactorizedCodebook(nn.Module):
    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__()
        self.in_project = nn.Conv1d(config.hidden_size, config.codebook_dim, 1)
        self.out_project = nn.Conv1d(config.codebook_dim, config.hidden_size, 1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)

    def project_in(self, z: Tensor) -> Tensor:
        """z (B, T, C) -> (B, T, D), D the dimensions of the codebook."""
        projected: Tensor = self.in_project(z.transpose(1, 2)).transpose(1, 2)
        return projected

    def project_out(self, entries: Tensor) -> Tensor:
        """entries (B, T, D) -> (B, T, C)."""
        projected: Tensor = self.out_project(entries.transpose(1, 2)).transpose(1, 2)
        return projected

    def nearest(self, projected: Tensor) -> Tensor:
        """projected (B, T, D) -> codes (B, T) int64 by cosine similarity."""
        directions = F.normalize(self.codebook.weight, dim=-1)  # (K, D)
        return (F.normalize(projected, dim=-1) @ directions.T).argmax(dim=-1)


class ResidualQuantizer(nn.Module):
    """Upstream's container of codebooks; this family has one."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList([FactorizedCodebook(config)])

    @property
    def only(self) -> FactorizedCodebook:
        book = self.quantizers[0]
        assert isinstance(book, FactorizedCodebook)
        return book


class Quantizer(nn.Module):
    """Features -> codes and codes -> features; used at enrollment and synthesis."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__()
        self.quantizer = ResidualQuantizer(config)

    def encode(self, z: Tensor) -> Tensor:
        """Encoded features z (B, T, C) -> codes (B, T) int64 in [0, codebook_size)."""
        book = self.quantizer.only
        return book.nearest(book.project_in(z))

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, T) int in [0, codebook_size) -> their features (B, T, C)."""
        book = self.quantizer.only
        return book.project_out(book.codebook(codes))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantize with a straight-through gradient.

        z: (B, T, C), encoded features.
        Returns the quantized features (B, T, C), the codes (B, T) int64, and, for the commitment and codebook losses,
        the projected features and the chosen codebook entries, both (B, T, D).
        """
        book = self.quantizer.only
        projected = book.project_in(z)
        codes = book.nearest(projected)
        entries: Tensor = book.codebook(codes)
        quantized = book.project_out(projected + (entries - projected).detach())
        return quantized, codes, projected, entries


class SemanticCodecEncoder(nn.Module):
    """Semantic features -> input of the quantizer; enrollment only."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__()
        self.encoder = Backbone(config)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """features (B, T, C), mask (B, T), non-zero for real frames, or None -> (B, T, C)."""
        out: Tensor = self.encoder(features, mask)
        return out


class SemanticCodecDecoder(nn.Module):
    """Quantized features back to an estimate of the originals; training only."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__()
        self.decoder = Backbone(config)

    def forward(self, quantized: Tensor, mask: Tensor | None = None) -> Tensor:
        """quantized (B, T, C), mask (B, T), non-zero for real frames, or None -> (B, T, C)."""
        out: Tensor = self.decoder(quantized, mask)
        return out


class SemanticCodec(Quantizer):
    """Encoder and quantizer in one module, with the parameter names of both components."""

    def __init__(self, config: SemanticCodecConfig) -> None:
        super().__init__(config)
        self.encoder = Backbone(config)

    def quantize(self, features: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """features (B, T, C) -> codes (B, T) int64 and quantized features (B, T, C).

        mask: (B, T), non-zero for real frames; None: no padding. Codes of padding are undefined and do not affect
        the others.
        """
        quantized, codes, _, _ = self(self.encoder(features, mask))
        return codes, quantized


def _zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set padding to zero, the value that a convolution pads with."""
    return x if mask is None else x.masked_fill(~mask, 0.0)
