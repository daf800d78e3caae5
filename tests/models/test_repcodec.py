"""The semantic codec against upstream's codes, quantized features and look-up, and its full size."""

from __future__ import annotations

import dataclasses
import json
from fnmatch import fnmatch

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from safetensors.torch import load_file

from edgetts.models.repcodec import (
    EXPECTED_EXTRAS,
    Quantizer,
    SemanticCodec,
    SemanticCodecDecoder,
    SemanticCodecEncoder,
)
from edgetts.pack.config import SemanticCodecConfig

MINI = SemanticCodecConfig(
    hidden_size=1024,
    codebook_size=8192,
    codebook_dim=8,
    vocos_dim=48,
    vocos_intermediate_dim=96,
    vocos_n_layers=2,
)
FULL = dataclasses.replace(MINI, vocos_dim=384, vocos_intermediate_dim=2048, vocos_n_layers=12)
TOLERANCE = 1e-4  # of the golden's standard deviation


@pytest.fixture(scope="module")
def codec() -> SemanticCodec:
    with torch.device("meta"):
        module = SemanticCodec(MINI)
    fill(module, component_tensors("codec"), EXPECTED_EXTRAS)
    return module.eval()


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "semantic_codec.safetensors")


def test_codes_and_quantized_features_are_upstreams(codec: SemanticCodec, golden: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        codes, quantized = codec.quantize(golden["features"])
    assert torch.equal(codes, golden["codes"].long())
    assert (quantized - golden["quantized"]).abs().max() < TOLERANCE * golden["quantized"].std()


def test_lookup_is_upstreams(codec: SemanticCodec, golden: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        features = codec.lookup(golden["vq2emb_codes"][0].long())
    assert features.shape == golden["vq2emb"].shape
    assert (features - golden["vq2emb"]).abs().max() < TOLERANCE * golden["vq2emb"].std()


def test_separate_encoder_and_quantizer_give_the_same(codec: SemanticCodec, golden: dict[str, torch.Tensor]) -> None:
    tensors = codec.state_dict()
    encoder, quantizer = SemanticCodecEncoder(MINI), Quantizer(MINI)
    encoder.load_state_dict({k: v for k, v in tensors.items() if k.startswith("encoder.")})
    quantizer.load_state_dict({k: v for k, v in tensors.items() if k.startswith("quantizer.")})
    with torch.no_grad():
        codes = quantizer.encode(encoder(golden["features"]))
        looked_up = quantizer.lookup(codes)
        together = codec.quantize(golden["features"])
    assert torch.equal(codes, together[0])
    torch.testing.assert_close(looked_up, together[1], rtol=0, atol=1e-5)


def test_padding_changes_nothing_for_real_frames(codec: SemanticCodec, golden: dict[str, torch.Tensor]) -> None:
    features = golden["features"][:, :40].repeat(2, 1, 1)
    mask = torch.ones(2, 40)
    mask[1, 21:] = 0
    with torch.no_grad():
        codes, quantized = codec.quantize(features, mask)
        codes_alone, alone = codec.quantize(features[1:, :21])
    assert torch.equal(codes[1:, :21], codes_alone)
    torch.testing.assert_close(quantized[1:, :21], alone, rtol=0, atol=1e-5)


def test_gradients_pass_through_the_rounding() -> None:
    config = dataclasses.replace(MINI, hidden_size=16, codebook_size=32, vocos_dim=8)
    codec, decoder = SemanticCodec(config), SemanticCodecDecoder(config)
    features = torch.randn(2, 10, config.hidden_size)
    quantized, _, projected, entries = codec(codec.encoder(features))
    loss = (decoder(quantized) - features).square().mean() + (projected.detach() - entries).square().mean()
    loss.backward()
    names = {n for m in (codec, decoder) for n, p in m.named_parameters() if p.grad is None}
    assert names == set()


@pytest.mark.parametrize(("size", "config"), [("mini", MINI), ("full", FULL)])
def test_parameters_are_the_published_ones(size: str, config: SemanticCodecConfig) -> None:
    folder = DATA / "manifest"
    if size == "full":
        if SHARED is None:
            pytest.skip("the full-size reference manifests are not here")
        folder = SHARED / "reference" / "manifest"
    manifest = json.loads((folder / f"{size}-codec.json").read_text())
    decoder_only = {k: v for k, v in manifest.items() if fnmatch(k, *EXPECTED_EXTRAS)}
    with torch.device("meta"):
        check_layout(SemanticCodec(config), manifest, EXPECTED_EXTRAS)
        check_layout(SemanticCodecDecoder(config), decoder_only, ())
