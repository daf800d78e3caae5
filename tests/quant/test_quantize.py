"""The quantization pass as a whole: from a pack, from a checkpoint, interrupted, and what speaks afterwards."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import DATA
from helpers.voices import golden_voice_25

from edgetts.backends import process
from edgetts.backends.linear import kernels_used
from edgetts.errors import EdgeTTSError, UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.options import SynthesisOptions
from edgetts.pack import locate
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.quant import calibrate, report
from edgetts.quant.quantize import quantize
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice

CPU = torch.device("cpu")
MAX_SECONDS = 300  # for what takes two
# Small in everything, and with each scheme, method and number format somewhere.
RECIPE = """
format = 1
name = "small"
description = "For tests"
[components.gpt]
dtype = "float16"
rules = [
  { pattern = "gpt.h.0.*.weight", scheme = "int8_channel" },
  { pattern = "gpt.h.1.*.weight", scheme = "nf4_group", group_size = 64 },
  { pattern = "gpt.h.2.*.weight", scheme = "int4_group", group_size = 32, method = "hqq" },
  { pattern = "gpt.h.*.weight", scheme = "int4_group", group_size = 64, method = "gptq" },
  { pattern = "mel_head.weight", scheme = "int8_channel" },
]
[components.s2mel]
dtype = "bfloat16"
[components.vocoder]
dtype = "float16"
[components.semantic_encoder]
dtype = "float16"
rules = [{ pattern = "*", scheme = "int8_channel" }]
[components.codec_encoder]
dtype = "float16"
[components.conditioning]
dtype = "float16"
rules = [{ pattern = "*", scheme = "int8_channel" }]
[components.speaker_encoder]
dtype = "float16"
[calibration]
n_texts = 1
max_codes = 6
seed = 1
damping = 0.01
activation_order = true
[defaults]
n_beams = 1
n_steps = 2
"""
PLAIN = RECIPE.replace(', method = "gptq"', "").replace(', method = "hqq"', "").replace('"small"', '"plain"')


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "small.toml").write_text(RECIPE)
    (folder / "plain.toml").write_text(PLAIN)
    return folder


@pytest.fixture(autouse=True)
def _measure_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "N_TEXTS", 1)
    monkeypatch.setattr(report, "N_SPOKEN", 1)
    monkeypatch.setattr(report, "MAX_CODES", 6)


@pytest.fixture(scope="module")
def small(mini_pack: Path, mini_voice: Path, recipes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini pack, quantized with everything."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("N_TEXTS", 1), ("N_SPOKEN", 1), ("MAX_CODES", 6)):
            patch.setattr(report, name, value)
        target = tmp_path_factory.mktemp("packs") / "small.pack"

        def judge(folder: Path) -> dict[str, float]:
            return {"parts_of_a_voice": len(Pipeline(open_pack(folder), CPU).modules())}

        made = quantize(mini_pack, target, str(recipes / "small.toml"), voice=mini_voice, judge=judge)
    assert made.path == target and made.recipe == "small" and made.reason == "" and made.quality is not None
    assert not [p for p in target.parent.iterdir() if p != target]
    return target


def test_what_is_in_the_pack(small: Path, mini_pack: Path) -> None:
    pack, source = open_pack(small, verify=True), open_pack(mini_pack)
    assert pack.manifest.recipe == "small" and pack.manifest.defaults == {"n_beams": 1, "n_steps": 2}
    assert pack.manifest.encoder_id == source.manifest.encoder_id  # voices of the one fit the other
    assert {c: e.dtype for c, e in pack.manifest.components.items() if e.dtype != "float16"} == {
        "s2mel": "bfloat16",
        **dict.fromkeys(("semantic_statistics", "quantizer", "emotion"), "float32"),
    }
    groups = {(g.scheme, g.group_size): len(g.tensors) for g in pack.manifest.components["gpt"].schemes}
    others = 4 * (pack.config.gpt.n_layers - 3)  # blocks with GPTQ
    assert groups == {
        ("int8_channel", None): 5,
        ("nf4_group", 64): 4,
        ("int4_group", 32): 4,
        ("int4_group", 64): others,
    }
    for component in INDEXTTS_2.components:
        assert pack.shapes(component) == source.shapes(component)
    assert pack.file("tokenizer.json").read_bytes() == source.file("tokenizer.json").read_bytes()


def test_it_speaks_as_stored(small: Path, mini_pack: Path, mini_voice: Path) -> None:
    pipeline = Pipeline(open_pack(small), CPU)
    assert sum(kernels_used(pipeline.gpt).values()) == 4 * pipeline.config.gpt.n_layers + 1
    speaker = make_speaker(pipeline.networks, Voice.load(mini_voice))
    options = SynthesisOptions.of(pipeline.pack.manifest.defaults, {"max_codes": 8, "guards": False})
    spoken = pipeline.speak(speaker, [5, 9, 20], options, 3)
    assert torch.isfinite(spoken.waveform).all() and spoken.waveform.abs().max() > 0
    decoded = Pipeline(open_pack(small), CPU, kernel="dequantized")
    assert kernels_used(decoded.gpt) == {}
    same, stored = (p.features(p.prompt(speaker, [5, 9, 20]), spoken.codes) for p in (decoded, pipeline))
    assert float((same - stored).norm() / same.norm()) < 1e-2


def test_the_report(small: Path) -> None:
    manifest = open_pack(small).manifest
    quality = manifest.quality
    assert quality is not None and quality["compared_with"] == "reference-fp32"
    assert set(quality["sizes"]) == set(INDEXTTS_2.components)
    assert 0 < quality["gpt"]["kl_mean"] < 1 and 0 < quality["gpt"]["top1"] <= 1
    assert 0 < quality["sound"]["waveform_mel_distance"] < 1
    assert len(quality["snr_db"]["gpt"]) == 4 * manifest.model.gpt.n_layers + 1
    snr = quality["snr_db"]["gpt"]
    assert snr["gpt.h.0.attn.c_attn.weight"] > 38 > snr["gpt.h.2.attn.c_attn.weight"] > 15
    assert quality["judged"] == {"parts_of_a_voice": 4}
    page = (small / "report.html").read_text()
    assert "<td>parts of a voice</td><td class=n>4</td>" in page
    assert page.startswith("<!doctype html>") and page.count("<circle") > 4 * manifest.model.gpt.n_layers
    assert "small" in page and "http" not in page.replace("http://www.w3.org", "")


def test_a_report_is_not_taken_along(small: Path, recipes: Path, tmp_path: Path) -> None:
    """Storing the same again is no second quantization; the report of the first is not the report of the second."""
    made = quantize(small, tmp_path / "again.pack", str(recipes / "plain.toml"), measure=False)
    again = open_pack(tmp_path / "again.pack", verify=True)
    assert made.quality is None and again.manifest.quality is None and "report.html" not in again.manifest.files
    name = "gpt.h.0.attn.c_attn.weight"
    first, second = (open_pack(p).stored("gpt")[name] for p in (small, tmp_path / "again.pack"))
    assert torch.equal(first.parts["codes"], second.parts["codes"])  # type: ignore[union-attr]


def test_from_a_checkpoint(mini_checkpoint: Path, mini_pack: Path, recipes: Path, tmp_path: Path) -> None:
    quantize(mini_checkpoint, tmp_path / "a.pack", str(recipes / "plain.toml"), measure=False)
    quantize(mini_pack, tmp_path / "b.pack", str(recipes / "plain.toml"), measure=False)
    a, b = open_pack(tmp_path / "a.pack", verify=True), open_pack(tmp_path / "b.pack")
    assert {n: e for n, e in a.manifest.files.items() if n.endswith(".safetensors")} == {
        n: e for n, e in b.manifest.files.items() if n.endswith(".safetensors")
    }
    assert a.manifest.encoder_id == b.manifest.encoder_id


def test_a_checkpoint_that_must_speak_first(
    mini_checkpoint: Path, mini_voice: Path, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration runs the model: a reference pack is made beside the target, and removed. What was checked of all
    these packs is remembered under the given home alone."""
    monkeypatch.setattr(locate.platformdirs, "user_cache_path", lambda *_, **__: pytest.fail("not the given home"))
    target, home, recipe = tmp_path / "c" / "c.pack", tmp_path / "home", str(recipes / "small.toml")
    made = quantize(mini_checkpoint, target, recipe, voice=mini_voice, texts=["Yes.", "No, no."], home=home)
    assert made.quality is not None and made.quality["compared_with"] == "reference-fp32"
    assert [p.name for p in target.parent.iterdir()] == ["c.pack"]
    assert "Intermediate" not in open_pack(target, home=home).manifest.description
    assert len(calibrate.own_recording(home)[0]) > 22_050  # which the built-in pack speaks
    assert (home / "cache" / "verified.json").is_file()


def test_misuse(mini_pack: Path, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="pack at .* already"):
        quantize(mini_pack, mini_pack, str(recipes / "plain.toml"))
    with pytest.raises(UsageError, match="Unknown recipe"):
        quantize(mini_pack, tmp_path / "x", "fastest")
    with pytest.raises(EdgeTTSError, match="does not exist"):
        quantize(tmp_path / "none", tmp_path / "x", str(recipes / "plain.toml"))
    monkeypatch.setattr(calibrate, "builtin_pack", lambda: tmp_path / "none")
    with pytest.raises(UsageError, match="no recording to calibrate with: give one with voice="):
        calibrate.own_recording(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("voice", [None, DATA / "speech.ogg"])
def test_a_model_that_cannot_enroll_says_what_to_give(
    mini_pack: Path, mini_pack_25: Path, mini_checkpoint_25: Path, tmp_path: Path, voice: Path | None
) -> None:
    """Before anything is written."""
    for source, recipe, measure in (
        (mini_pack_25, "laptop-4gb", True),
        (mini_pack_25, "laptop-4gb", False),
        (mini_pack_25, "cpu-arm64", True),
        (mini_checkpoint_25, "laptop-4gb", False),
        (mini_pack, "laptop-4gb", True),
    ):
        with pytest.raises(UsageError, match=r"64 wide.* take 1024\. Give a voice file.* with voice=; or .*gptq"):
            quantize(source, tmp_path / "x", recipe, voice=voice, measure=measure)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_that_advises_works(mini_pack_25: Path, tmp_path: Path) -> None:
    voice = golden_voice_25(mini_pack_25).save(tmp_path / "golden.safetensors")
    made = quantize(mini_pack_25, tmp_path / "a.pack", "laptop-4gb", voice=voice, texts=["Yes.", "No, no."])
    assert made.quality is not None
    assert quantize(mini_pack_25, tmp_path / "b.pack", "cpu-arm64", measure=False).quality is None


def test_measuring_that_fails_costs_no_quantization(
    mini_pack: Path, mini_voice: Path, recipes: Path, tmp_path: Path
) -> None:
    target, recipe = tmp_path / "m.pack", str(recipes / "plain.toml")

    def refuse(_folder: Path) -> dict[str, float]:
        raise UsageError("The judge does not listen.")

    with pytest.raises(UsageError, match="does not listen"):
        quantize(mini_pack, target, recipe, voice=mini_voice, judge=refuse)
    assert not target.exists()
    assert quantize(mini_pack, target, recipe, measure=False).reused == tuple(INDEXTTS_2.components)
    assert open_pack(target, verify=True).manifest.quality is None and not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills processes as Linux does")
def test_killed_at_any_moment(mini_pack: Path, mini_voice: Path, recipes: Path, tmp_path: Path) -> None:
    """There is never a folder that loads but is wrong, and the next run completes.

    Five moments are shares of the work, at which the run waits for its end: those are met on any machine. Five are
    shares of the time that a whole run took, which lie anywhere, also in the middle of a file or after the end.
    """
    target, recipe = tmp_path / "k.pack", str(recipes / "small.toml")

    heard, said = os.pipe()

    def start(to: Path, wait_at: float = 2.0) -> int:
        def wait(_what: str, done: int, total: int) -> None:
            if done >= wait_at * total:
                os.write(said, b".")
                signal.pause()

        child = os.fork()
        if child == 0:
            code = 1
            process._Process.id = os.getpid()  # tests compute in one thread, which is the one that goes on in a fork
            try:
                quantize(mini_pack, to, recipe, voice=mini_voice, progress=wait)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return child

    def end_of(child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    started = time.monotonic()
    assert end_of(start(tmp_path / "clean.pack")) == 0
    seconds = time.monotonic() - started
    clean = open_pack(tmp_path / "clean.pack", verify=True).manifest
    moments = random.Random(0)
    for turn in range(10):
        share = moments.uniform(0.01, 0.99)
        if turn % 2:
            child = start(target)
            time.sleep(share * seconds)
            os.kill(child, signal.SIGKILL)
            assert end_of(child) in (0, -signal.SIGKILL)  # done before it was killed, perhaps
        else:
            child = start(target, wait_at=share)
            assert select.select([heard], [], [], MAX_SECONDS)[0], "the moment never came"
            os.read(heard, 1)
            os.kill(child, signal.SIGKILL)
            assert end_of(child) == -signal.SIGKILL and not target.exists()
        if target.exists():  # then it must be right
            assert same(open_pack(target, verify=True).manifest, clean)
            target.rename(tmp_path / f"done{turn}.pack")
    assert end_of(start(target)) == 0
    assert same(open_pack(target, verify=True).manifest, clean)
    assert not list(tmp_path.glob(".*"))
    os.close(heard)
    os.close(said)


def same(one: Any, other: Any) -> bool:
    return bool(one.files == other.files and one.components == other.components and one.quality == other.quality)
