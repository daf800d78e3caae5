"""A GPT that was trained further takes its place in a pack, and S2Mel gets of its latents what it got before: training
keeps it, and the layers are fitted to the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.gpt_data import Sentences
from recipes.tiny.stages.init_from_pack import start_from
from recipes.tiny.stages.swap import mixed
from recipes.tiny.stages.swap_gpt import fitted, swap_gpt
from recipes.tiny.stages.train_gpt import KeptLatents, sequence

WIDTHS = (16, 12, 6, 12)


def weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Three linear layers, the second of which is the narrowest, and a tensor that is none of them."""
    shapes = {f"gpt_layer.{k}": (WIDTHS[k + 1], WIDTHS[k]) for k in range(3)}
    made = {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    made |= {f"{name}.bias": torch.randn(shape[0], generator=generator) for name, shape in shapes.items()}
    return made | {"other": torch.ones(3)}


def output(s2mel: dict[str, Tensor], latents: Tensor) -> Tensor:
    for k in range(3):
        latents = latents @ s2mel[f"gpt_layer.{k}.weight"].T + s2mel[f"gpt_layer.{k}.bias"]
    return latents


@pytest.mark.parametrize("kind", ["the same", "turned and moved", "with noise"])
def test_what_s2mel_gets_stays(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    s2mel = weights(generator)
    before, fresh = (torch.randn(400, 16, generator=generator) for _ in range(2))
    turn = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]

    def moved(latents: Tensor) -> Tensor:
        noise = 0.1 * torch.randn(latents.shape, generator=generator) if kind == "with noise" else 0.0
        return latents if kind == "the same" else 1.5 * latents @ turn + 3.0 + noise

    new = fitted(s2mel, before, moved(before))
    assert new.keys() == s2mel.keys() and all(new[name].shape == s2mel[name].shape for name in s2mel)
    assert torch.equal(new["other"], s2mel["other"]) and torch.equal(
        new["gpt_layer.2.weight"], s2mel["gpt_layer.2.weight"]
    )
    expected = output(s2mel, fresh)
    error = (output(new, moved(fresh)) - expected).norm() / (expected - expected.mean(0)).norm()
    assert error < (0.15 if kind == "with noise" else 1e-3)
    if kind != "the same":
        assert (output(s2mel, moved(fresh)) - expected).norm() > 0.5 * expected.norm()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder with a GPT whose hidden states are another mixture."""
    start_from(open_pack(builtin_pack()), tmp_path / "work")
    path = tmp_path / "work" / "gpt" / "start.pt"
    state = torch.load(path, weights_only=True)
    state["average_gpt"]["final_norm.weight"] = state["average_gpt"]["final_norm.weight"] * 2
    torch.save(state, path)
    return tmp_path / "work"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "items.json").write_text(json.dumps([{"voice": "v", "phones": "", "text": ""}] * 4))
    generator = np.random.default_rng(0)
    made = Corpus(folder)
    made.put("text", [generator.integers(3, 60, 12).astype(np.int16) for _ in range(4)])
    made.put("codes", [generator.integers(0, dims.CODEBOOK, 90).astype(np.int16) for _ in range(4)])
    made.put("feat", [generator.normal(size=(90, dims.SEMANTIC)).astype(np.float16) for _ in range(4)])
    made.put("align", [np.linspace(0, 1, 90, dtype=np.float32)] * 4)
    made.put("phone", [np.zeros(90, np.int16)] * 4)
    return made


@pytest.mark.parametrize("seen", [True, False])
def test_training_keeps_what_s2mel_sees_of_the_latents(seen: bool, work: Path, corpus: Corpus) -> None:
    """A change of the latents counts where S2Mel's layers see it, and nowhere else."""
    start = torch.load(work / "gpt" / "start.pt", weights_only=True)
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    gpt, conditioning = GPT(config.gpt).eval(), Conditioning(config.conditioning).eval().requires_grad_(False)
    gpt.load_state_dict(start["average_gpt"])
    conditioning.load_state_dict(start["average_conditioning"])
    kept = KeptLatents(work, config.gpt, conditioning)
    sentences = Sentences([corpus], [1], held_out=False)
    sentences.varied = False
    batch = sentences.batch([0, 1], np.random.default_rng(0))
    embeddings, _ = sequence(gpt, conditioning, batch, batch.codes, False)
    hidden = gpt(embeddings)
    assert float(kept.loss(hidden, batch, batch.codes).detach()) < 1e-3  # 16-bit products
    visible = torch.linalg.qr(kept.map.T)[0]  # (C, R), directions that the layers see
    assert visible.shape == (dims.MODEL, min(dims.model_config(N_TOKENS, None, (1,) * 8).s2mel.latent_projection_dims))
    change = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
    change = change @ visible @ visible.T if seen else change - change @ visible @ visible.T
    loss = kept.loss(hidden + change, batch, batch.codes)
    assert float(loss.detach()) > 0.05 if seen else float(loss.detach()) < 1e-3
    torch.autograd.backward(loss)
    assert gpt.final_norm.weight.grad is not None and all(p.grad is None for p in kept.before.parameters())


def test_only_the_gpt_and_the_layers_that_read_it_change(work: Path, corpus: Corpus, tmp_path: Path) -> None:
    old = open_pack(builtin_pack())
    new = open_pack(swap_gpt(old, work, corpus, tmp_path / "new", n_recordings=4))
    changed = {
        path.name
        for path in builtin_pack().iterdir()
        if path.is_file() and path.read_bytes() != (new.path / path.name).read_bytes()
    }
    assert changed == {"gpt.safetensors", "s2mel.safetensors", "manifest.json"}
    before, after = old.state_dict("gpt"), new.state_dict("gpt")
    assert not torch.equal(before["final_norm.weight"], after["final_norm.weight"])
    same = {
        name for name, value in old.state_dict("s2mel").items() if torch.equal(value, new.state_dict("s2mel")[name])
    }
    assert {name for name in before if not name.startswith("final_norm")} <= {
        n for n in before if torch.allclose(before[n], after[n], atol=1e-3)
    }
    assert all(name.startswith("gpt_layer.") for name in old.state_dict("s2mel").keys() - same)
    with pytest.raises(UsageError, match="exists already"):
        swap_gpt(old, work, corpus, tmp_path / "new", n_recordings=4)


def test_a_share_of_the_trained_gpt_is_taken(work: Path, corpus: Corpus, tmp_path: Path) -> None:
    old = open_pack(builtin_pack())
    new = open_pack(swap_gpt(old, work, corpus, tmp_path / "new", n_recordings=4, share=0.25))
    name = "final_norm.weight"  # doubled in `work`
    expected = 1.25 * old.state_dict("gpt")[name]
    torch.testing.assert_close(new.state_dict("gpt")[name], expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=r"share .* above 0 and at most 1"):
        mixed({}, {}, share)


def test_a_gpt_that_was_trained_with_other_conditioners_is_refused(work: Path, corpus: Corpus, tmp_path: Path) -> None:
    path = work / "gpt" / "start.pt"
    state = torch.load(path, weights_only=True)
    name = next(name for name, value in state["average_conditioning"].items() if value.ndim == 2)
    state["average_conditioning"][name] = state["average_conditioning"][name] + 1e-3
    torch.save(state, path)
    with pytest.raises(UsageError, match="other conditioners .*--keep-conditioning"):
        swap_gpt(open_pack(builtin_pack()), work, corpus, tmp_path / "new", n_recordings=4)
    assert not (tmp_path / "new").exists()
