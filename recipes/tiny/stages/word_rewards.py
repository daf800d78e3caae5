"""Samples codes of texts and scores how well each word is said: what `policy_step` needs.

In: a pack with `code_sounds.json`, texts whose numbers are spelled out, and cached corpora with `wav`, whose recordings
give voices. Out: `REWARDS/samples.jsonl`, several samples per text, and `REWARDS/voices.safetensors`. An interrupted
run continues.

A word's score is the share of its sounds that its codes have (`edgetts.decoding.spoken`), and how well recognizers hear
it: the pack speaks the codes, Whisper base and tiny get the true text, and give the probability of each of its tokens
after the ones before. So a word has a score of its own, even between words that were misheard, and no search is
needed. Several texts share a window of 30 s, the samples of a text always with those of the same other texts. With
`--only-codes` nobody listens, which is four times as fast.

    python -m recipes.tiny.stages.word_rewards --pack PACK --texts rare.txt --corpus CACHE --out REWARDS --minutes 30
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from safetensors.torch import save_file

from edgetts import TTS
from edgetts.decoding.decode import max_codes_limit
from edgetts.decoding.guards import cap_codes
from edgetts.options import SynthesisOptions
from edgetts.pipeline import Pipeline
from edgetts.text.frontend import TextFrontend
from edgetts.voices.speaker import Speaker, make_speaker
from edgetts.voices.voice import Voice
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.predicted_mels import mel_of_codes, voice_of
from recipes.tiny.corpus.text import MAX_SEGMENT_TOKENS
from recipes.tiny.evaluation.listeners import JUDGE_RATE, KINDS, LEAD_S, Listener
from recipes.tiny.stages.batched_sampling import sample_codes
from recipes.tiny.stages.code_sounds import Attention
from recipes.tiny.stages.gpt_data import SPACE_TOKEN
from recipes.tiny.stages.policy_step import SAMPLES_FILE, VOICES_FILE
from recipes.tiny.stages.s2mel_data import training_by_voice

N_SAMPLES = 6  # of each text
TEMPERATURE, TOP_P = 0.85, 0.97  # wider than at synthesis, so that samples differ
WINDOW_S = 30.0  # of the recognizers
FILLED_S = 24.0  # expected speech per window
PAUSE_S = 0.4  # between the texts of a window
S_PER_TOKEN = 0.085  # of speech, to fill the windows
READY_SHARE = 0.4  # of texts that are read in the pack's ready voices
SHORTEST_VOICE_S = 3.0  # of a recording that gives a voice


@dataclass(frozen=True)
class Text:
    """One text, and the word of each of its tokens."""

    words: tuple[str, ...]
    ids: tuple[int, ...]

    @classmethod
    def of(cls, frontend: TextFrontend, text: str) -> Text | None:
        """None: the text has several segments, or other words than its tokens, such as digits."""
        segments = frontend.segments(text, MAX_SEGMENT_TOKENS).segments
        words = tuple(text.split())
        if len(segments) != 1 or not words:
            return None
        ids = tuple(segments[0].ids)
        return cls(words, ids) if ids.count(SPACE_TOKEN) == len(words) else None

    def word_of(self, places: Sequence[int]) -> list[int]:
        """The word of each token index in `places`; -1: none. An index of -1 is before the text, len(ids) after it."""
        numbers = np.cumsum([token == SPACE_TOKEN for token in self.ids]) - 1
        return [int(numbers[p]) if 0 <= p < len(self.ids) else -1 for p in places]

    @property
    def seconds(self) -> float:
        """Rough estimate."""
        return 0.4 + S_PER_TOKEN * len(self.ids)


def windows(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """Texts in their order, as many as a window is expected to hold."""
    part: list[Text] = []
    filled = 0.0
    for text in texts:
        if part and filled + text.seconds + PAUSE_S > FILLED_S:
            yield part
            part, filled = [], 0.0
        part.append(text)
        filled += text.seconds + PAUSE_S
    if part:
        yield part


class Recognizer:
    """Log-probabilities of words that are known, by one Whisper model."""

    def __init__(self, listener: Listener) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self.model = listener.model
        self.tokenizer = Tokenizer(self.model.hf_tokenizer, True, task="transcribe", language="en")

    def scores(self, samples: npt.NDArray[np.float32], words: Sequence[str]) -> list[float]:
        """Natural logarithm of the probability of each word, given the sound (S,) at `JUDGE_RATE` and the words
        before."""
        from faster_whisper.audio import pad_or_trim

        features = self.model.feature_extractor(samples)
        tokens = [self.tokenizer.encode(f" {word}") for word in words]
        flat = [token for word in tokens for token in word]
        encoded = self.model.encode(pad_or_trim(features))
        found = self.model.model.align(encoded, self.tokenizer.sot_sequence, [flat], features.shape[-1])[0]
        logs = np.log(np.maximum(np.array(found.text_token_probs), 1e-9))
        ends = np.cumsum([len(word) for word in tokens])
        return [float(logs[end - len(word) : end].sum()) for word, end in zip(tokens, ends, strict=True)]


class Reader:
    """Samples codes of one pack, and speaks them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.attention = Attention(pipeline)
        self.options = SynthesisOptions.of(pipeline.pack.manifest.defaults, {})

    @torch.inference_mode()
    def codes(
        self,
        speakers: Sequence[Speaker],
        texts: Sequence[Text],
        generator: torch.Generator,
        *,
        n: int,
        temperature: float,
        top_p: float,
    ) -> list[list[list[int] | None]]:
        """`n` code sequences of each text in the voice of its speaker; None: it did not end."""
        gpt, rate = self.attention.gpt, self.pipeline.config.code_rate
        prompts, limits = [], []
        for speaker, text in zip(speakers, texts, strict=True):
            ids = torch.tensor([text.ids])
            prompts.append(gpt.prefix(speaker.conditioning_latents, speaker.emotion_vector, ids)[0])
            limits.append(cap_codes(len(text.ids), rate, round(3 * text.seconds * rate)))
        most = max_codes_limit(gpt.config)
        found = sample_codes(
            gpt,
            [prompt for prompt in prompts for _ in range(n)],
            [min(limit, most) for limit in limits for _ in range(n)],
            generator,
            temperature=temperature,
            top_p=top_p,
        )
        return [found[k * n : (k + 1) * n] for k in range(len(texts))]

    @torch.inference_mode()
    def words(self, speaker: Speaker, text: Text, codes: Sequence[int]) -> list[int]:
        """The word that the GPT looks at for each code; -1: none."""
        head = self.attention.gpt.condition(speaker.conditioning_latents, speaker.emotion_vector)
        return text.word_of(self.attention.tokens_of(head, text.ids, codes))

    def said(self, text: Text, codes: Sequence[int]) -> list[float]:
        """The share of each word's sounds that the codes have."""
        assert self.pipeline.code_sounds is not None, "the pack has no code_sounds.json"
        return [round(float(s), 3) for s in self.pipeline.code_sounds.spoken_shares(text.ids, codes)[1:]]

    @torch.inference_mode()
    def speech(self, speaker: Speaker, text: Text, codes: Sequence[int]) -> npt.NDArray[np.float32]:
        """The sound of the codes at `JUDGE_RATE`."""
        import soxr

        pipeline = self.pipeline
        mel = mel_of_codes(pipeline, speaker, text.ids, codes, seed=0, options=self.options)
        sound = pipeline.waveform(mel, gain=speaker.gain).numpy()
        found: npt.NDArray[np.float32] = soxr.resample(sound, pipeline.config.audio.sample_rate, JUDGE_RATE)
        return found.astype(np.float32)


def heard_window(
    recognizers: Sequence[Recognizer], sounds: Sequence[npt.NDArray[np.float32] | None], texts: Sequence[Text]
) -> list[list[float] | None]:
    """Log-probabilities of the words of each text, the mean of the recognizers; None: not in the window."""
    pause = np.zeros(round(PAUSE_S * JUDGE_RATE), np.float32)
    parts, n, inside = [np.zeros(round(LEAD_S * JUDGE_RATE), np.float32)], 0, []
    for k, sound in enumerate(sounds):
        if sound is None or n + len(sound) + len(pause) > (WINDOW_S - LEAD_S) * JUDGE_RATE:
            continue
        parts += [sound, pause]
        n += len(sound) + len(pause)
        inside.append(k)
    scores: list[list[float] | None] = [None] * len(sounds)
    if not inside:
        return scores
    words = [word for k in inside for word in texts[k].words]
    means = np.mean([recognizer.scores(np.concatenate(parts), words) for recognizer in recognizers], axis=0)
    start = 0
    for k in inside:
        scores[k] = [round(float(score), 3) for score in means[start : start + len(texts[k].words)]]
        start += len(texts[k].words)
    return scores


def voices(pipeline: Pipeline, corpora: Sequence[Corpus], n: int, seed: int) -> dict[str, Voice]:
    """Voices of `n` random recordings, each speaker once as long as there are others."""
    made: dict[str, Voice] = {}
    by_speaker: dict[str, list[tuple[Corpus, int]]] = defaultdict(list)
    shortest = SHORTEST_VOICE_S * pipeline.config.audio.sample_rate
    for corpus in corpora:
        for name, chosen in training_by_voice(corpus).items():
            by_speaker[name] += [(corpus, i) for i in chosen if corpus.length("wav", i) >= shortest]
    generator = np.random.default_rng(seed)
    names = generator.permutation(sorted(name for name, found in by_speaker.items() if found)).tolist()
    for k in range(n):
        name = names[k % len(names)]
        corpus, i = by_speaker[name][int(generator.integers(len(by_speaker[name])))]
        made[f"{name} {corpus.items[i]['name']}"] = voice_of(pipeline, corpus, i)
    return made


def save_voices(path: Path, speakers: dict[str, Speaker]) -> None:
    """What the GPT gets of each voice, by its name."""
    parts = {
        name: torch.cat([speaker.conditioning_latents[0], speaker.emotion_vector]) for name, speaker in speakers.items()
    }
    save_file(parts, path)


def whole_windows(path: Path) -> int:
    """Remove the last window of the file, as it may not be whole. Returns how many are left."""
    if not path.exists():
        return 0
    lines = path.read_text().splitlines(keepends=True)
    numbers = [json.loads(line)["window"] for line in lines if line.endswith("\n")]
    last = max(numbers, default=0)
    whole = path.with_suffix(".new")
    whole.write_text("".join(line for line, number in zip(lines, numbers, strict=False) if number < last))
    whole.replace(path)
    return last


def run(
    reader: Reader,
    recognizers: Sequence[Recognizer],
    speakers: dict[str, Speaker],
    ready: Sequence[str],
    texts: Sequence[Text],
    out: Path,
    minutes: float,
    seed: int,
) -> int:
    """Append samples to `out` until the time is over. Returns of how many texts."""
    path = out / SAMPLES_FILE
    groups = list(windows(texts))
    done = whole_windows(path)
    others, end, n_texts = sorted(set(speakers) - set(ready)), time.monotonic() + 60 * minutes, 0
    with Progress(transient=True) as bar, path.open("a") as file:
        task = bar.add_task("windows", total=len(groups), completed=done)
        for number in range(done, len(groups)):
            if time.monotonic() > end:
                break
            part = groups[number]
            drawn = np.random.default_rng([seed, number])
            names = [
                str(drawn.choice(list(ready) if not others or drawn.random() < READY_SHARE else others)) for _ in part
            ]
            chosen = [speakers[name] for name in names]
            drawing = torch.Generator().manual_seed(seed + number)
            codes = reader.codes(chosen, part, drawing, n=N_SAMPLES, temperature=TEMPERATURE, top_p=TOP_P)
            lines = []
            for sample in range(N_SAMPLES):
                taken = [codes_of_text[sample] for codes_of_text in codes]
                heard: list[list[float] | None] = [None] * len(part)
                if recognizers:
                    sounds = [
                        None if c is None else reader.speech(s, t, c)
                        for s, t, c in zip(chosen, part, taken, strict=True)
                    ]
                    heard = heard_window(recognizers, sounds, part)
                for k, (text, found, scores) in enumerate(zip(part, taken, heard, strict=True)):
                    if found is None or (recognizers and scores is None):
                        continue
                    line = {
                        "window": number,
                        "text": f"{number}.{k}",
                        "voice": names[k],
                        "ids": text.ids,
                        "codes": found,
                        "words": reader.words(chosen[k], text, found),
                        "said": reader.said(text, found),
                        "heard": scores,
                    }
                    lines.append(json.dumps(line) + "\n")
            file.write("".join(lines))  # a window is written whole
            file.flush()
            n_texts += len(part)
            bar.update(task, advance=1)
    return n_texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="one per line, as of corpus.rare_words")
    parser.add_argument("--corpus", type=Path, action="append", required=True, help="gives voices; may be given again")
    parser.add_argument("--voices", type=int, default=100, help="recordings that give voices")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only-codes", action="store_true", help="without recognizers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tts = TTS.load(args.pack, device="cpu")
    pipeline = Pipeline(tts.pack, torch.device("cpu"))
    ready = {name: tts.voice(name) for name in sorted(tts.ready_voices())}
    made = voices(pipeline, [Corpus(folder) for folder in args.corpus], args.voices, args.seed)
    prompt_s = SynthesisOptions.of(tts.pack.manifest.defaults, {}).prompt_s
    speakers = {k: make_speaker(pipeline.networks, v, prompt_s=prompt_s) for k, v in (ready | made).items()}
    save_voices(args.out / VOICES_FILE, speakers)
    read = (Text.of(tts.frontend(), line) for line in args.texts.read_text(encoding="utf-8").splitlines())
    texts = [text for text in read if text is not None]
    recognizers = [] if args.only_codes else [Recognizer(Listener(kind, args.threads)) for kind in KINDS]
    n_texts = run(Reader(pipeline), recognizers, speakers, list(ready), texts, args.out, args.minutes, args.seed)
    print(f"{n_texts} texts more in {args.out}")


if __name__ == "__main__":
    main()
