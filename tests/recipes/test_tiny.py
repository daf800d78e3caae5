"""The tiny pack's recipe: its parts, and all of it on synthetic buzzes."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgetts.pack.config import IstftVocoderConfig
from edgetts.pack.load import open_pack
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, average_into, fast_muon, plain_attention, zeroth_power
from recipes.tiny.corpus import align, make_corpus, prepare, synthetic
from recipes.tiny.corpus.data import Corpus, batches, is_held_out, mask_of, pad, phone_letters
from recipes.tiny.corpus.lexicon import ipa
from recipes.tiny.corpus.text import (
    ALPHABET,
    N_TOKENS,
    SPACE,
    TOKENS,
    LossyLexicon,
    frontend,
    save_text_tables,
    text_ids,
)
from recipes.tiny.evaluation import stress
from recipes.tiny.stages.gpt_data import Row, spliced
from recipes.tiny.stages.output_level import OUTPUT_DB, scaled
from recipes.tiny.stages.train_semantic_encoder import edit_distance
from recipes.tiny.stages.train_vocoder_istft import PREDICTED_STAGE, with_pitch_net


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = synthetic.make(tmp_path_factory.mktemp("buzzes"), n=6)
    return prepare.prepare(prepare.read_metadata(folder), folder / "cache", workers=1)


def test_commands_start_when_everything_is_defined() -> None:
    """A name defined below the call of `main` is missing when the file is run, and only then."""
    files = [*Path(dims.__file__).parent.rglob("*.py")]
    assert len(files) > 30
    for file in files:
        nodes = ast.parse(file.read_text(encoding="utf-8")).body
        starts = [
            k for k, node in enumerate(nodes) if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        ]
        assert starts in ([], [len(nodes) - 1]), file


def test_cached_arrays_have_the_rates_of_the_model(corpus: Corpus) -> None:
    for i in range(len(corpus)):
        seconds = corpus.length("wav", i) / dims.SAMPLE_RATE
        assert corpus.get("sem", i).shape[1] == dims.SEMANTIC_ENCODER.feature_dim
        assert abs(corpus.length("sem", i) - dims.CODE_RATE * seconds) <= 2
        assert abs(corpus.length("mel", i) - dims.AUDIO.frame_rate * seconds) <= 2
        assert corpus.get("mel", i).shape[1] == dims.N_MELS


def test_what_an_earlier_network_made_is_made_again(corpus: Corpus, tmp_path: Path) -> None:
    weights = tmp_path / "last.pt"
    assert not corpus.has("made")
    corpus.put("made", [np.zeros(1, np.int16)] * len(corpus))
    weights.touch()
    made = (corpus.folder / "made.npy").stat().st_mtime
    for age, is_there in ((-1.0, True), (0.0, True), (1.0, False)):
        os.utime(weights, (made + age, made + age))
        assert corpus.has("made") and corpus.has("made", since=weights) == is_there


def test_mixed_voices_lie_on_the_line_through_two_of_one_sex() -> None:
    styles = {
        name: np.full((2, 1, 4), value, np.float32)
        for name, value in (("af_a", 0), ("zf_b", 4), ("am_c", 8), ("bm_d", 12))
    }
    made = make_corpus.mixed(styles, range(20))
    assert made.keys() == {f"x{'fm'[k % 2]}_{k:03d}" for k in range(20)}
    low, high = make_corpus.MIXED_BY
    for name, style in made.items():
        start = 0.0 if name[1] == "f" else 8.0
        share = (float(style[0, 0, 0]) - start) / 4
        assert style.dtype == np.float32 and (style == style[0, 0, 0]).all()
        assert min(low, 1 - high) <= share <= max(high, 1 - low)  # whichever of the two came first
    assert len({float(s[0, 0, 0]) for s in made.values()}) == 20
    assert all(np.array_equal(made[n], s) for n, s in make_corpus.mixed(styles, range(20)).items())


def test_a_corpus_gives_back_what_was_put(corpus: Corpus) -> None:
    arrays = [np.full(i + 1, i, np.int16) for i in range(len(corpus))]
    corpus.put("test", arrays)
    again = Corpus(corpus.folder)
    assert all(torch.equal(again.get("test", i), torch.from_numpy(a)) for i, a in enumerate(arrays))


def test_resampling_changes_pitch_and_length(corpus: Corpus) -> None:
    item = dict(corpus.items[0])
    item["factor"] = 1.15
    longer = prepare.analyze(item)[3]
    assert len(longer) == pytest.approx(1.15 * corpus.length("wav", 0), rel=0.01)


def test_batches_use_everything_within_the_budget() -> None:
    lengths = list(np.random.default_rng(0).integers(50, 300, 100))
    loader = batches(lengths, 1000, np.random.default_rng(1))
    seen: set[int] = set()
    while len(seen) < len(lengths):
        batch = next(loader)
        assert max(lengths[i] for i in batch) * len(batch) <= 1000
        seen.update(batch)


def test_padding_and_mask_agree() -> None:
    padded, lengths = pad([torch.ones(3, 2), torch.ones(5, 2)])
    assert padded.shape == (2, 5, 2)
    assert torch.equal(padded[..., 0].bool(), mask_of(lengths))


def test_one_recording_in_forty_is_held_out() -> None:
    assert sum(is_held_out(i) for i in range(400)) == 10


def test_phones_lose_stress_and_marks() -> None:
    assert phone_letters("wˈɜːld, ɪz.") == ["w", "ɜ", "l", "d", "ɪ", "z"]


def test_edit_distance() -> None:
    assert edit_distance([1, 2, 3], [1, 3]) == 1
    assert edit_distance([], [1, 2]) == 2
    assert edit_distance([1, 2], [2, 1]) == 2


def test_alignment_finds_the_phones_in_order() -> None:
    log_probs = np.log([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    path = align.viterbi(log_probs, np.array([1, 2]))
    assert path.tolist() == [-1, 0, 0, -1, 1]
    index, count = align.spread(path, np.zeros(5, bool))
    assert index.tolist() == [0, 0, 0, 1, 1]
    assert (np.diff(count) > 0).all() and count[0] > 0 and count[-1] < 2
    with_pause, _ = align.spread(path, np.array([True, False, False, True, False]))
    assert with_pause.tolist() == [-1, 0, 0, -1, 1]


def test_alignment_keeps_two_equal_phones_apart() -> None:
    log_probs = np.log([[0.1, 0.9], [0.4, 0.6], [0.1, 0.9]])
    assert align.viterbi(log_probs, np.array([1, 1])).tolist() == [0, -1, 1]
    assert align.viterbi(log_probs, np.array([1, 1, 1, 1])).tolist() == [-1, -1, -1]


def test_words_are_matched_to_tokens() -> None:
    tokens = list("▁ɪn▁ðə▁wɜɹld.")
    phones, position = align.anchors(tokens, "ɪnðə wˈɜːld.")
    assert phones.tolist() == [0, 4, 8]
    assert position.tolist() == [0, 6, 13]
    assert align.anchors([], "a")[1].tolist() == [0, 0]


@pytest.fixture(scope="module")
def text_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    save_text_tables(folder)
    return folder


def spelled(ids: list[int]) -> str:
    return "".join((SPACE + ALPHABET)[i - 3] for i in ids)


def test_the_runtime_reads_words_phone_by_phone_and_unknown_ones_by_letters(text_tables: Path) -> None:
    ids = text_ids(frontend(text_tables), "A teacher, a zyxqua?")
    assert spelled(ids) == "▁ə▁tˈitʃɚ,▁ə▁ZYXQUA?"
    assert max(ids) < N_TOKENS
    assert not {0, 1, 2} & set(ids)


def test_some_words_keep_their_letters_in_training(text_tables: Path) -> None:
    text = " ".join(["cat"] * 300)
    words = spelled(text_ids(frontend(text_tables, LossyLexicon(text_tables / "lexicon.txt", 1)), text)).split(SPACE)[
        1:
    ]
    assert words[-1].endswith(".")  # as the runtime closes a sentence without a mark
    words[-1] = words[-1].removesuffix(".")
    assert set(words) == {"kæt", "CAT"}
    assert 0.04 < words.count("CAT") / len(words) < 0.25


def test_the_lexicon_writes_stress_where_it_matters() -> None:
    assert ipa(["T", "IY1", "CH", "ER0"]) == "tˈitʃɚ"
    assert ipa(["K", "AE1", "T"]) == "kæt"
    assert ipa(["AH0", "B", "AW1", "T"]) == "əbˈaʊt"


def test_no_evaluation_sentence_has_letters_the_model_lacks(text_tables: Path) -> None:
    front = frontend(text_tables)
    sentences = (Path(dims.__file__).with_name("sentences.txt")).read_text().splitlines()
    assert len(set(sentences)) >= 60
    for sentence in sentences:
        assert 4 <= len(sentence.split()) <= 15
        assert 2 not in text_ids(front, sentence)


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    def make() -> tuple[torch.nn.Linear, Run]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(2, 2)
        return layer, Run(tmp_path, "stage", 1.0, {"layer": layer}, {"adamw": adamw([layer], 1e-2)})

    layer, run = make()
    for step in run:
        layer.weight.data += 1.0
        if step == 2:
            break
    run.spent_s = 30.0
    run.save()
    other, again = make()
    assert torch.equal(other.weight, layer.weight)
    assert (again.step, again.spent_s) == (run.step, 30.0)
    assert again.progress == 0.5


def test_learning_rate_falls_with_the_time_spent(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    run = Run(tmp_path, "stage", 1.0, {"layer": layer}, {"adamw": adamw([layer], 1e-2)}, warmup_steps=1)
    rates = []
    for spent in (0.0, 30.0, 60.0):
        run.spent_s = spent
        run._set_learning_rates()
        rates.append(run.optimizers["adamw"].param_groups[0]["lr"])
    assert rates[0] == pytest.approx(1e-2)
    assert rates[0] > rates[1] > rates[2] > 0


def test_averaging_moves_towards_the_source() -> None:
    a, b = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    a.weight.data.fill_(0.0)
    b.weight.data.fill_(1.0)
    average_into(a, b, 0.75)
    assert a.weight.item() == pytest.approx(0.25)


def test_the_whole_recipe_makes_a_pack_that_speaks(tmp_path: Path) -> None:
    """On buzzes and in seconds: the pack is whole and runs; nobody would understand it."""
    from edgetts import TTS
    from recipes.tiny.__main__ import QUICK_PREDICTED, QUICK_TABLE, run

    buzzes = synthetic.make(tmp_path / "buzzes", n=48)
    work = tmp_path / "work"
    pack = run(work, buzzes, minutes=0.5, workers=1, n_predicted=QUICK_PREDICTED, n_table=QUICK_TABLE)
    assert isinstance(open_pack(pack).config.vocoder, IstftVocoderConfig)
    # Of both of the vocoder's stages, and of the pitch stage.
    trained = scaled(with_pitch_net(work).state_dict(), OUTPUT_DB)
    assert (work / PREDICTED_STAGE / "last.pt").exists()
    for name, value in open_pack(pack).state_dict("vocoder").items():
        assert (value - trained[name]).abs().max() <= 0.01 * trained[name].abs().max() + 1e-6, name
    tts = TTS.load(pack, device="cpu")
    assert tts.ready_voices()
    audio = tts.say("A bad dog.", seed=0, max_codes=50, guards=False)
    assert np.isfinite(audio.samples).all()


def test_pieces_are_of_1_to_25_words_and_the_same_each_time() -> None:
    made = stress.pieces(["The cat sat on the mat.", "A dog, a bone and a long way home again."] * 4, 60)
    counts = [len(p.split()) for p in made]
    assert 1 <= min(counts) < 5 and 20 < max(counts) <= 25
    assert all(p[0].isupper() and p.endswith(".") for p in made)
    assert made == stress.pieces(["The cat sat on the mat.", "A dog, a bone and a long way home again."] * 4, 60)


def test_the_pace_of_the_teacher_is_that_of_its_recordings(tmp_path: Path) -> None:
    rows = []
    for text in ("A cat.", "The dog ran home.", "Nobody knows the way to the old house."):
        letters, words, _ = stress.size(text)
        for speed in (1.0, 2.0):
            seconds = (0.05 * letters + 0.1 * words + 0.2) / speed
            rows.append(f"x\tv\t{speed}\t{seconds}\tp\t{text}")
    (tmp_path / "metadata.tsv").write_text("\n".join(rows))
    assert stress.pace(tmp_path) == pytest.approx([0.05, 0.1, 0.2])


def spoken_row(text: str, first_code: int) -> Row:
    """Ten codes a letter, numbered, with the number of the letter as their phone."""
    tokens = [TOKENS.index(t) for t in text]
    n = 10 * len(tokens)
    letters = torch.arange(n) // 10
    align = ((torch.arange(n) + 0.5) / 10 - 0.5).clamp_min(0) / len(tokens)
    return Row(torch.tensor([0, *tokens, 1]), first_code + torch.arange(n), align, letters)


def test_a_spliced_sentence_has_the_codes_of_its_words() -> None:
    texts = ("▁AB▁CD▁E", "▁XY▁Z", "▁QRS")
    rows = [spoken_row(text, 1000 * k) for k, text in enumerate(texts)]
    seen = set()
    for seed in range(200):
        row = spliced(rows[: 2 + seed % 2], 100, np.random.default_rng(seed))
        text = "".join(TOKENS[t] for t in row.ids[1:-1])
        seen.add(text)
        assert row.ids[0] == 0 and row.ids[-1] == 1
        assert len(row.codes) == len(row.align) == len(row.phones) <= 100
        spoken = (row.position() - 0.5).round().long().clamp_max(len(text) - 1)
        for code, phone, letter in zip(row.codes.tolist(), row.phones.tolist(), spoken.tolist(), strict=True):
            assert abs(code % 1000 // 10 - phone) == 0
            assert texts[code // 1000][phone] in text[max(0, letter - 1) : letter + 2]
    assert {"▁AB▁XY▁Z", "▁AB▁Z", "▁AB▁QRS", "▁AB▁XY▁QRS", "▁AB▁CD▁Z"} <= seen
    assert spliced(rows[:2], 10, np.random.default_rng(0)) is rows[0]


@pytest.mark.parametrize("has_bf16", [True, False])
def test_training_takes_bfloat16_only_where_the_processor_has_it(
    has_bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    x = torch.ones(2, 2)
    with autocast("cpu"):
        assert (x @ x).dtype == (torch.bfloat16 if has_bf16 else torch.float32)
        query = torch.ones(1, 1, 2, 4)
        assert plain_attention(query, query, query).dtype == (torch.bfloat16 if has_bf16 else torch.float32)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_muon_without_bfloat16_products_makes_the_same_steps(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    steps = []
    for has_bf16 in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has_bf16: has)
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = gradient.clone()
        with fast_muon():
            torch.optim.Muon([weight], lr=1.0, weight_decay=0.0).step()
        steps.append(weight.detach())
    difference = (steps[0] - steps[1]).abs().max() / steps[0].abs().max()
    assert 0 < difference < 0.05  # bfloat16 rounds
    assert torch.optim._muon._zeropower_via_newtonschulz is not zeroth_power
