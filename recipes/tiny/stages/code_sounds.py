"""Stage `code_sounds`: maps each code to a phone, so that the runtime can detect skipped words.

In: a pack and sentences, one per line. Out: `code_sounds.json` in the pack (read by `edgetts.decoding.spoken`). The
pack samples codes for each sentence in its own voices. The GPT's attention heads with guided training give the text
token of each code, and each code maps to its most frequent phone. Nothing is written if the codes do not distinguish
phones, for example those of an untrained model.

    python -m recipes.tiny.stages.code_sounds --pack PACK [--sentences FILE] [--limit 400]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.progress import track

from edgetts import TTS
from edgetts.attempt import GuardedCodes
from edgetts.decoding.spoken import NO_SOUND, CodeSounds
from edgetts.models.gpt import GPT
from edgetts.options import SynthesisOptions
from edgetts.pack.entries import CODE_SOUNDS_FILE
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import make_speaker
from recipes.tiny.corpus.text import SPACE, TOKENS
from recipes.tiny.stages.pack_files import put_files
from recipes.tiny.stages.train_gpt import GUIDED

SENTENCES = Path(__file__).parents[1] / "sentences.txt"
MARKS = frozenset(",.?!'ˈ-")  # tokens without a sound
FEWEST = 3  # occurrences below which a code is not mapped
LEAST_SHARE = 0.5  # of the sampled codes that must agree with the table
TAIL = 5  # codes at the end, where attention no longer follows the text
# Phones that speakers or dictionaries interchange, and similar phones that are often confused.
ALIKE = ("ɜɚ", "əʌ", "əɪ", "əɚ", "ɑɔ", "iɪ", "ʌɑ", "eɛ", "əɛ", "æə", "əɑ", "dt", "sz")

Pairs = Iterator[tuple[list[int], list[int]]]


class Attention:
    """The GPT of a pack without runtime optimizations, and the text token that its guided heads attend to per code."""

    def __init__(self, pipeline: Pipeline) -> None:
        config = pipeline.config.gpt
        self.gpt = GPT(config).eval()
        self.gpt.load_state_dict(pipeline.pack.state_dict("gpt"))
        self.queries_and_keys: dict[int, torch.Tensor] = {}
        for layer, _ in GUIDED:
            self.gpt.gpt.h[layer].attn.c_attn.register_forward_hook(  # type: ignore[union-attr]
                lambda _m, _i, out, layer=layer: self.queries_and_keys.__setitem__(layer, out)
            )

    def tokens_of(self, head: torch.Tensor, ids: Sequence[int], codes: Sequence[int]) -> list[int]:
        """Index into `ids` per code; -1: the start token, len(ids): the stop token. head: (1, N, C), the voice."""
        config = self.gpt.config
        text = self.gpt.text_embed(torch.tensor([[config.start_text_token, *ids, config.stop_text_token]]))
        inputs = torch.tensor([[config.start_mel_token, *codes]])
        mel = self.gpt.mel_embed(inputs, torch.arange(inputs.shape[1]))
        self.gpt(torch.cat([head, text, mel], 1))
        first, n, size = head.shape[1], text.shape[1], config.head_dim
        scores = torch.zeros(len(codes), n)
        for layer, k in GUIDED:
            both = self.queries_and_keys[layer][0].float()  # (L, 3 C)
            query = both[first + n : first + n + len(codes), k * size : (k + 1) * size]
            at = config.model_dim + k * size
            scores += (query @ both[first : first + n, at : at + size].T * size**-0.5).log_softmax(-1)
        found: list[int] = (scores.argmax(-1) - 1).tolist()
        return found


@torch.inference_mode()
def spoken_pairs(pack: Path, sentences: Sequence[str]) -> Pairs:
    """Per segment, two lists of equal length: the codes, and the text token of each."""
    tts = TTS.load(pack, device="cpu")
    pipeline = Pipeline(tts.pack, torch.device("cpu"), compute="exact")
    attention, frontend = Attention(pipeline), tts.frontend()
    options = SynthesisOptions.of(tts.pack.manifest.defaults, {"guards": False})
    speakers = [make_speaker(pipeline.networks, tts.voice(name)) for name in tts.ready_voices()]
    for k, sentence in enumerate(track(sentences, description="codes")):
        for segment in frontend.segments(sentence, options.max_segment_tokens).segments:
            speaker, ids = speakers[k % len(speakers)], list(segment.ids)
            decoding = GuardedCodes(pipeline.networks, pipeline.prompt(speaker, ids), options, seed=k)
            codes = [code for step in decoding for code in step]
            codes = codes[:-TAIL] if len(codes) > 2 * TAIL else codes
            head = attention.gpt.condition(speaker.conditioning_latents, speaker.emotion_vector)
            places = attention.tokens_of(head, ids, codes)
            at = [(code, ids[place]) for code, place in zip(codes, places, strict=True) if 0 <= place < len(ids)]
            yield [code for code, _ in at], [token for _, token in at]


def table(pairs: Pairs, n_codes: int, silence: int | None) -> CodeSounds | None:
    """The table from codes to phones; None if it agrees with less than `LEAST_SHARE` of the sampled codes."""
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for codes, tokens in pairs:
        for code, token in zip(codes, tokens, strict=True):
            if TOKENS[token] != SPACE and TOKENS[token] not in MARKS:
                counts[code][token] += 1
    total = sum(sum(found.values()) for found in counts.values())
    right = sum(found.most_common(1)[0][1] for found in counts.values())
    print(f"{len(counts)} codes; {right / max(1, total):.1%} of their occurrences agree with the table")
    if right < LEAST_SHARE * max(1, total):
        return None
    known = {code: found for code, found in counts.items() if sum(found.values()) >= FEWEST and code != silence}
    number = {token: i for i, token in enumerate(TOKENS)}
    return CodeSounds.of(
        [known[code].most_common(1)[0][0] if code in known else NO_SOUND for code in range(n_codes)],
        number[SPACE],
        [(number[pair[0]], number[pair[1]]) for pair in ALIKE if set(pair) <= number.keys()],
    )


def table_json(sounds: CodeSounds) -> bytes:
    """The content of `code_sounds.json`."""
    alike = sorted([a, b] for a, b in sounds.alike if a < b)
    content = {"token_of_code": list(sounds.token_of_code), "word_start": sounds.word_start, "alike": alike}
    return (json.dumps(content) + "\n").encode()


def add(pack: Path, sentences: Sequence[str]) -> bool:
    """Add the table to a pack. Returns False, and writes nothing, if the codes do not distinguish phones."""
    config = open_pack(pack).config
    sounds = table(spoken_pairs(pack, sentences), config.gpt.n_mel_codes, config.silence_code)
    if sounds is not None:
        put_files(pack, {CODE_SOUNDS_FILE: table_json(sounds)})
    return sounds is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--sentences", type=Path, default=SENTENCES)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sentences = args.sentences.read_text(encoding="utf-8").splitlines()[: args.limit]
    print(
        "written" if add(args.pack, sentences) else "nothing written: the codes of this pack do not distinguish phones"
    )


if __name__ == "__main__":
    main()
