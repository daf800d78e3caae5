"""The options of `edgetts say`: what each is called, what its help says, under which heading it stands.

Types for the verb's parameters, nothing else. Values in brackets are the defaults of `SynthesisOptions`; a pack may
have its own, and an option that is not given leaves them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgetts.cli import complete as completions
from edgetts.options import SynthesisOptions

_DEFAULTS = SynthesisOptions()
VOICE, EMOTION, OUTPUT, PLAYBACK = "Voice", "Emotion", "Output", "Playback"
DAEMON = "Daemon"
SAMPLING, MEL, GUARDS = "Generation: codes", "Generation: sound", "Generation: guards"


def _option(
    *names: str,
    panel: str | None = None,
    help: str,
    metavar: str | None = None,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    """An option that says its own default, where it has one to say. complete: what the shell offers after Tab."""
    return typer.Option(
        *names, metavar=metavar, help=help, rich_help_panel=panel, show_default=False, autocompletion=complete
    )


def _knob(field: str, *names: str, help: str, **more: Any) -> Any:
    """An option that sets a field of `SynthesisOptions`; its help ends with the field's default."""
    default = getattr(_DEFAULTS, field)
    return _option(
        *names, help=f"{help} [{default:g}]" if isinstance(default, float) else f"{help} [{default}]", **more
    )


def _flag(name: str, panel: str | None = None, *, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel)


# --- what to say -----------------------------------------------------------------------------------------

TextArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|-", help="What to say; - reads it from standard input, as does a pipe without it."),
]
FileOption = Annotated[str | None, _option("--file", "-f", metavar="FILE", help="Read the text from a file instead.")]
MarkupFlag = Annotated[
    bool, _flag("--markup", help='Read `[pause:1.5]` and `<break time="500ms"/>` in the text as pauses.')
]
MarkdownFlag = Annotated[
    bool | None,
    _flag(
        "--markdown/--plain",
        help="Leave out the marks of Markdown, or keep the text as it is. [--markdown for text from a pipe and "
        ".md files, else --plain]",
    ),
]
GlossaryOption = Annotated[
    Path | None, _option("--glossary", metavar="FILE", help="YAML file of terms and how they are read.")
]
NormalizerOption = Annotated[
    str,
    _option(
        "--normalizer",
        metavar="NAME",
        help="Who reads numbers, signs and abbreviations: edgetts, or upstream as IndexTTS-2 does. [edgetts]",
    ),
]
MaxSegmentTokensOption = Annotated[
    int | None,
    _knob("max_segment_tokens", "--max-segment-tokens", help="Longest piece spoken at once: 20 to 600 tokens."),
]

# --- who says it, and how --------------------------------------------------------------------------------

VoiceOption = Annotated[
    str | None,
    _option(
        *("--voice", "-v"),
        panel=VOICE,
        metavar="VOICE",
        complete=completions.voices,
        help="A name from `edgetts voices list`, a voice file (.safetensors) or a recording "
        "(WAV, FLAC, OGG or MP3; remembered by its content). Default: $EDGETTS_VOICE, the pack's own.",
    ),
]
EmotionOption = Annotated[
    str | None,
    _option(
        *("--emotion", "-e"),
        panel=EMOTION,
        metavar="NAME=WEIGHT,...",
        complete=completions.emotions,
        help="Weights from 0 to 2 of happy, angry, sad, afraid, disgusted, melancholic, surprised, calm.",
    ),
]
EmotionVoiceOption = Annotated[
    str | None,
    _option("--emotion-voice", panel=EMOTION, metavar="VOICE", help="Take the emotion from this recording."),
]
EmotionAlphaOption = Annotated[
    float | None,
    _option("--emotion-alpha", panel=EMOTION, help="How much of the emotion, 0 to 1 (2 with a recording). [1]"),
]
EmotionCapFlag = Annotated[
    bool,
    _flag(
        *("--emotion-cap", EMOTION),
        help="Bias the weights and bound their sum to 0.8, as the web page of IndexTTS-2 does.",
    ),
]

# --- where it goes ---------------------------------------------------------------------------------------

OutputOption = Annotated[
    str | None,
    _option(
        *("--output", "-o"),
        panel=OUTPUT,
        metavar="FILE|-",
        help="Write the speech: .wav, .flac, .ogg, .opus, .mp3 or .pcm; - is standard output. "
        "Without it the speech is played.",
    ),
]
FormatOption = Annotated[
    str | None,
    _option(
        "--format",
        panel=OUTPUT,
        metavar="FORMAT",
        help="wav, flac, ogg, opus, mp3 or pcm, whatever the file is called.",
    ),
]
RawFlag = Annotated[
    bool,
    _flag(
        *("--raw", OUTPUT),
        help="Bare samples (signed 16 bit, little-endian, mono), to standard output unless -o is given; "
        "their rate is said on standard error.",
    ),
]
SrtOption = Annotated[Path | None, _option("--srt", panel=OUTPUT, metavar="FILE", help="Write subtitles (SubRip).")]
VttOption = Annotated[Path | None, _option("--vtt", panel=OUTPUT, metavar="FILE", help="Write subtitles (WebVTT).")]
PlayFlag = Annotated[bool, _flag("--play", PLAYBACK, help="Play the speech also when it is written with -o.")]
OutputDeviceOption = Annotated[
    str | None,
    _option(
        "--output-device",
        panel=PLAYBACK,
        metavar="NAME",
        help="Play to the device whose name holds this. [the system's default]",
    ),
]
ListDevicesFlag = Annotated[bool, _flag("--list-devices", PLAYBACK, help="List the devices that can play.")]
ChunksOption = Annotated[
    str | None,
    _option(
        "--chunks",
        panel=PLAYBACK,
        help="Parts of live speech, in codes (50 a second): 30,60 or whole. [measured; with --seed 30,60,120]",
    ),
]
FirstStepsOption = Annotated[
    int | None,
    _option("--first-steps", panel=PLAYBACK, help="Flow steps of the first chunk, which is waited for. [--steps]"),
]

# --- how it is generated ---------------------------------------------------------------------------------

SeedOption = Annotated[
    int | None,
    _option(
        "--seed",
        panel=SAMPLING,
        help="0 to 2^53 - 1. The same seed and settings give the same audio. What is played or piped is made in parts "
        "(--chunks): it is not the audio of a file, and may differ where a guard fires in mid-sentence. [a fresh one]",
    ),
]
TemperatureOption = Annotated[
    float | None, _knob("temperature", "--temperature", panel=SAMPLING, help="Above 0, at most 10.")
]
TopKOption = Annotated[int | None, _knob("top_k", "--top-k", panel=SAMPLING, help="Codes to choose from; 0: all.")]
TopPOption = Annotated[
    float | None, _knob("top_p", "--top-p", panel=SAMPLING, help="Probability to choose from, to 1.")
]
RepetitionPenaltyOption = Annotated[
    float | None, _knob("repetition_penalty", "--repetition-penalty", panel=SAMPLING, help="1 (off) to 100.")
]
LengthPenaltyOption = Annotated[
    float | None, _knob("length_penalty", "--length-penalty", panel=SAMPLING, help="For beams: -10 to 10.")
]
BeamsOption = Annotated[int | None, _knob("n_beams", "--beams", panel=SAMPLING, help="Beam search width, 1 to 16.")]
MaxCodesOption = Annotated[
    int | None, _knob("max_codes", "--max-codes", panel=SAMPLING, help="Bound per segment, 50 a second.")
]
GreedyFlag = Annotated[bool, _flag("--greedy", SAMPLING, help="Do not sample: the likeliest codes.")]
StepsOption = Annotated[int | None, _knob("n_steps", "--steps", panel=MEL, help="Steps of flow matching, 1 to 1000.")]
PromptSecondsOption = Annotated[
    float | None,
    _option(
        "--prompt-seconds",
        panel=MEL,
        help="Of the recording that sound goes on from, 0.5 to 15; less is faster. [all]",
    ),
]
SolverOption = Annotated[
    str | None,
    _knob("solver", "--solver", panel=MEL, help="euler, ab2, heun or midpoint (two calls a step)."),
]
CfgRateOption = Annotated[
    float | None,
    _knob("cfg_rate", "--cfg-rate", panel=MEL, help="Classifier-free guidance, 0 (off, faster) to 10."),
]
CfgUntilOption = Annotated[
    float | None,
    _knob("cfg_until", "--cfg-until", panel=MEL, help="Guidance up to this part of the way, 0 to 1; less is faster."),
]
SwayOption = Annotated[
    float | None,
    _knob("sway", "--sway", panel=MEL, help="-1 to 1.75: below 0 shorter steps first, above 0 last."),
]
NoiseScaleOption = Annotated[
    float | None,
    _knob(
        "noise_scale", "--noise-scale", panel=MEL, help="Of the noise that mel is made from, 0 to 2; less is plainer."
    ),
]
PresetOption = Annotated[
    str | None,
    _option(
        "--preset",
        panel=MEL,
        complete=completions.presets,
        help="best (upstream's numbers), balanced or fast; other options win. [none]",
    ),
]
NoGuardsFlag = Annotated[
    bool, _flag("--no-guards", GUARDS, help="Do not bound codes by the text nor notice silence and repeats.")
]
RetriesOption = Annotated[
    int | None,
    _knob("retries", "--retries", panel=GUARDS, help="Tries with another seed when a guard fires, 0 to 5."),
]

# --- who makes it ------------------------------------------------------------------------------------------

NoDaemonFlag = Annotated[bool, _flag("--no-daemon", DAEMON, help="Speak in this process, also where a daemon runs.")]
SocketOption = Annotated[
    Path | None,
    _option(
        "--socket",
        panel=DAEMON,
        metavar="FILE",
        help="Let the daemon at this socket speak, or fail. One at $EDGETTS_SOCKET or $XDG_RUNTIME_DIR/edgetts.sock is "
        "found without it, for voices with a name.",
    ),
]
