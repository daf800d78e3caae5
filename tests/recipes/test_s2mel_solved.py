"""S2Mel trained through the solver of synthesis: its loss, what it begins with, and what a pack gets of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.s2mel_corpus import SOUNDS, made_corpus

from edgetts.decoding.flow import solve_flow
from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.stages import s2mel_data, s2mel_gpu, swap_s2mel, train_s2mel, train_s2mel_solved
from recipes.tiny.stages.export import DEFAULTS
from recipes.tiny.stages.init_from_pack import start_from
from recipes.tiny.stages.train_codec import load_codec


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return made_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def work(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder as `init_from_pack` makes it, and batches of a few short excerpts."""
    folder = tmp_path / "work"
    start_from(open_pack(builtin_pack()), folder)
    (folder / "phones.txt").write_text("p" * (SOUNDS - 1))
    s2mel_data.add_styles(folder, [corpus])
    s2mel_data.add_latents(folder, [corpus])
    monkeypatch.setattr(train_s2mel_solved, "SHAPES", (((20, 40, 2), 1.0),))
    monkeypatch.setattr(train_s2mel_solved, "EVALUATED_BATCHES", 2)
    return folder


def test_the_solved_mel_is_that_of_synthesis(corpus: Corpus, work: Path) -> None:
    model = registry.LATENT_S2MEL.load(open_pack(builtin_pack())).requires_grad_(True)
    pairs = s2mel_data.Pairs([corpus], load_codec(work), False, train_s2mel_solved.SHAPES)
    with torch.no_grad():
        batch = pairs.batch(np.random.default_rng(0), model, latents=True)
    usual, urgent = train_s2mel_solved.solver_settings()
    shipped = SynthesisOptions.of(open_pack(builtin_pack()).manifest.defaults, {})
    assert (usual, urgent) == (shipped.flow_settings(), shipped.first_flow_settings()) and usual != urgent
    regulated = [model.length_regulator(x, n) for x, n in ((batch.prompt_semantic, 20), (batch.semantic, 40))]
    for settings in (usual, urgent):
        with torch.no_grad():
            start = torch.ones(2, 80, 60)
            wanted = solve_flow(
                model.cfm.estimator, start, batch.prompt, torch.cat(regulated, 1), batch.style, settings
            )
        found = train_s2mel_solved.solved_mel(model, batch, settings)
        assert found.requires_grad and found.shape == batch.mel.shape
        assert float((found - wanted[:, :, 20:]).abs().mean()) < 0.05  # of bfloat16


def test_it_begins_with_the_stage_before_and_learns(corpus: Corpus, work: Path) -> None:
    before = train_s2mel.final_weights(work)
    train_s2mel_solved.train(work, [corpus], 0.0)
    same = train_s2mel.final_weights(work)
    assert all(torch.equal(before[name], same[name]) for name in before)
    train_s2mel_solved.train(work, [corpus], 0.1)
    lines = [json.loads(line) for line in (work / "s2mel_solved" / "log.jsonl").read_text().splitlines()]
    first, *_, last = (line["eval"]["solved"] for line in lines if "eval" in line)
    assert last < 0.9 * first, (first, last)
    after = train_s2mel.final_weights(work)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_share_of_it_is_put_into_a_pack(
    corpus: Corpus, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_s2mel_solved.train(work, [corpus], 0.0)
    file = work / "s2mel_solved" / "last.pt"
    state = torch.load(file, weights_only=True)
    old = open_pack(builtin_pack()).state_dict("s2mel")
    state["modules"]["average"] = {name: value + 0.5 for name, value in old.items()}
    torch.save(state, file)

    def swapped(name: str, *more: str) -> dict[str, torch.Tensor]:
        given = ["--pack", str(builtin_pack()), "--work", str(work), "--out", str(tmp_path / name), *more]
        monkeypatch.setattr(sys, "argv", ["swap_s2mel", *given])
        swap_s2mel.main()
        return open_pack(tmp_path / name).state_dict("s2mel")

    for found, wanted in ((swapped("all"), 0.5), (swapped("half", "--share", "0.4"), 0.2)):
        moved = torch.cat([(found[name] - value).flatten() for name, value in old.items()])
        assert float(moved.median()) == pytest.approx(wanted, abs=0.01)
    with pytest.raises(UsageError, match=r"share .* above 0 and at most 1"):
        swapped("none", "--share", "0")


def test_a_result_of_the_gpu_is_not_taken_where_it_would_not_count(corpus: Corpus, work: Path, tmp_path: Path) -> None:
    train_s2mel_solved.train(work, [corpus], 0.0)
    with pytest.raises(SystemExit, match=r"s2mel_solved/last\.pt exists, and would be used instead"):
        s2mel_gpu.take(tmp_path, work)


def test_the_recipe_exports_what_it_trains_for() -> None:
    """`solved_mel` starts from zeros, as the exported pack does."""
    assert DEFAULTS["noise_scale"] == 0.0
