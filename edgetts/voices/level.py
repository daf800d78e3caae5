"""One level for all voices: each is measured once, at enrollment, and gets a gain whenever it speaks.

S2Mel takes the level from the speaker, so voices differ, and a louder recording does not make a louder voice. A pack
with a `speech_level.json` speaks with every voice at the level that it names. The same file has the codes of a few
utterances, all of one length. S2Mel and the vocoder render them in a new voice, and the level of this sound is stored
in the voice: before the gain, so that it stays true where the pack's level is changed. The codes are the same for all
voices, because the level of an utterance depends on its words. Packs without the file, and voices without a level,
speak as they come.

In: an open pack and a `Voice`. Out: the same voice with `level_db`; a gain. Not part of upstream.
"""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgetts.audio.level import speech_level_db
from edgetts.errors import PackError
from edgetts.families import family_of
from edgetts.models import registry
from edgetts.models.vocoder import frames_of, render
from edgetts.pack.entries import SPEECH_LEVEL_FILE
from edgetts.pack.plain_json import InvalidJSON, read_json
from edgetts.voices.spectrum import mapped
from edgetts.voices.voice import Voice
from edgetts.voices.voiced_flow import VoicedFlow

if TYPE_CHECKING:
    from edgetts.options import SynthesisOptions
    from edgetts.pack.config import ModelConfig
    from edgetts.pack.load import Pack

MAX_GAIN_DB = 9.0  # either way
LOWEST_DB, HIGHEST_DB = -60.0, -6.0  # of full scale; louder speech would be cut off
_MAX_BYTES = 64 << 10
_MAX_CODES = 4096  # of all utterances


@dataclass(frozen=True)
class SpeechLevel:
    """level_db: RMS of the louder frames of speech, in dB relative to full scale (`edgetts.audio.level`).

    codes: of the utterances that voices are measured with, each a row of one length.
    """

    level_db: float
    codes: tuple[tuple[int, ...], ...]

    @classmethod
    def of_pack(cls, pack: Pack) -> SpeechLevel | None:
        """The pack's level; None: each voice speaks at its own. Raises PackError if it does not fit the pack."""
        if SPEECH_LEVEL_FILE not in pack.manifest.files:
            return None
        return pack.once(SPEECH_LEVEL_FILE, lambda path: cls._fitting(path, pack.config))

    @classmethod
    def _fitting(cls, path: Path, config: ModelConfig) -> SpeechLevel:
        if family_of(config).voice_reference != "reference_codes":
            raise PackError(f"{path} is for models whose S2Mel takes codes: fetch the pack again.")
        found = cls.read(path)
        if max(code for row in found.codes for code in row) >= config.semantic_codec.codebook_size:
            raise PackError(f"{path} is for another model: fetch the pack again.")
        return found

    @classmethod
    def read(cls, path: Path) -> SpeechLevel:
        """Raises PackError if the file is not usable."""
        try:
            table: Any = read_json(path.read_bytes(), max_bytes=_MAX_BYTES)
            level, rows = table["level_db"], table["codes"]
            if type(level) not in (int, float) or not LOWEST_DB <= level <= HIGHEST_DB:
                raise ValueError(f"its level is not {LOWEST_DB:g} to {HIGHEST_DB:g} dB")
            if not rows or len({len(row) for row in rows}) != 1 or not 0 < len(rows) * len(rows[0]) <= _MAX_CODES:
                raise ValueError("its utterances are not of one length")
            if not all(type(code) is int and code >= 0 for row in rows for code in row):
                raise ValueError("its codes are not whole numbers")
        except (OSError, InvalidJSON, ValueError, KeyError, TypeError) as error:
            raise PackError(f"{path} is not a level of speech ({error}): fetch the pack again.") from error
        return cls(float(level), tuple(tuple(row) for row in rows))

    def gain(self, level_db: float | None) -> float:
        """Factor of the waveforms of a voice with this level; 1 for a voice without one."""
        if level_db is None:
            return 1.0
        db = max(-MAX_GAIN_DB, min(MAX_GAIN_DB, self.level_db - level_db))
        return float(10 ** (db / 20))

    @torch.inference_mode()
    def measured(self, pack: Pack, voice: Voice, options: SynthesisOptions, device: torch.device) -> Voice:
        """The voice with its level, as it speaks with these options. Loads S2Mel and vocoder in fp32, frees them."""
        codes = torch.tensor(self.codes, device=device)  # (B, T)
        mels = VoicedFlow(pack, voice, options, device).of_codes(codes)  # (B, M, F)
        if voice.mel_map is not None:
            mels = mapped(mels, voice.mel_map[0].to(device))
        vocoder = registry.VOCODER.load(pack, device).float()
        waveforms = render(vocoder, frames_of(vocoder, mels)).cpu().numpy()  # (B, S)
        level = statistics.fmean(speech_level_db(each, pack.config.audio.sample_rate) for each in waveforms)
        return dataclasses.replace(voice, level_db=round(level, 2))
