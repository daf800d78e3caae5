"""The options of `edgetts say`: names, help texts and panels, as types of the verb's parameters.

Values in brackets are the defaults of `SynthesisOptions`. A pack may have its own, which apply to options that are
not given.
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
    """An option whose help text names its default, if it has one. complete: shell completion."""
    return typer.Option(
        *names, metavar=metavar, help=help, rich_help_panel=panel, show_default=False, autocompletion=complete
    )


def _knob(field: str, *names: str, help: str, **more: Any) -> Any:
    """An option for a field of `SynthesisOptions`; its help ends with the field's default."""
    default = getattr(_DEFAULTS, field)
    return _option(
        *names, help=f"{help} [{default:g}]" if isinstance(default, float) else f"{help} [{default}]", **more
    )


def _flag(name: str, panel: str | None = None, *, help: str) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel)


# --- text ------------------------------------------------------------------------------------------------

TextArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT|-", help="Text to speak; - or a pipe without TEXT reads it from standard input."),
]
FileOption = Annotated[str | None, _option("--file", "-f", metavar="FILE", help="Read the text from a file instead.")]
MarkupFlag = Annotated[
    bool, _flag("--markup", help='Read `[pause:1.5]` and `<break time="500ms"/>` in the text as pauses.')
]
MarkdownFlag = Annotated[
    bool | None,
    _flag(
        "--markdown/--plain",
        help="Remove Markdown markup, or keep the text as it is. [--markdown for text from a pipe and .md files, "
        "else --plain]",
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
        help="How numbers, signs and abbreviations are read: edgetts, or upstream as in IndexTTS-2. [edgetts]",
    ),
]
MaxSegmentTokensOption = Annotated[
    int | None,
    _knob("max_segment_tokens", "--max-segment-tokens", help="Longest segment: 20 to 600 tokens."),
]

LanguageOption = Annotated[
    str | None,
    _option(
        *("--lang", "--language"),
        metavar="CODE",
        help="Language of the text, if the model speaks it: zh, en, ja, es or ar; auto: sentence by sentence. [the "
        "voice's, else auto]",
    ),
]

# --- voice and emotion -----------------------------------------------------------------------------------

VoiceOption = Annotated[
    str | None,
    _option(
        *("--voice", "-v"),
        panel=VOICE,
        metavar="VOICE",
        complete=completions.voices,
        help="A name from `edgetts voices list`, a voice file (.safetensors) or a recording "
        "(WAV, FLAC, OGG or MP3; cached by its content). Default: $EDGETTS_VOICE, the pack's own.",
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
    _option("--emotion-alpha", panel=EMOTION, help="Strength of the emotion, 0 to 1 (2 with a recording). [1]"),
]
EmotionCapFlag = Annotated[
    bool,
    _flag(
        *("--emotion-cap", EMOTION),
        help="Bias the weights and bound their sum to 0.8, as the web page of IndexTTS-2 does.",
    ),
]

# --- output ----------------------------------------------------------------------------------------------

OutputOption = Annotated[
    str | None,
    _option(
        *("--output", "-o"),
        panel=OUTPUT,
        metavar="FILE|-",
        help="Write the speech: .wav, .flac, .ogg, .opus, .mp3 or .pcm; - is standard output. Default: play it.",
    ),
]
FormatOption = Annotated[
    str | None,
    _option(
        "--format",
        panel=OUTPUT,
        metavar="FORMAT",
        help="wav, flac, ogg, opus, mp3 or pcm. [by the file's extension]",
    ),
]
RawFlag = Annotated[
    bool,
    _flag(
        *("--raw", OUTPUT),
        help="Raw samples (signed 16 bit, little-endian, mono), to standard output unless -o is given; "
        "their rate is printed on standard error.",
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
        help="Play on the device whose name contains NAME. [the system's default]",
    ),
]
ListDevicesFlag = Annotated[bool, _flag("--list-devices", PLAYBACK, help="List the output devices.")]
ChunksOption = Annotated[
    str | None,
    _option(
        "--chunks",
        panel=PLAYBACK,
        help="Chunk sizes of live speech in codes (50 a second, of IndexTTS-2.5 25), such as 30,60, or whole. "
        "[measured; with --seed 0.6, 1.2 and 2.4 s]",
    ),
]
FirstStepsOption = Annotated[
    int | None,
    _option("--first-steps", panel=PLAYBACK, help="Flow steps of the first chunk; fewer start sooner. [--steps]"),
]

# --- generation ------------------------------------------------------------------------------------------

SeedOption = Annotated[
    int | None,
    _option(
        "--seed",
        panel=SAMPLING,
        help="0 to 2^53 - 1. The same seed and settings give the same audio. Played or piped speech is made in chunks "
        "(--chunks): it differs from that of a file. [random]",
    ),
]
TemperatureOption = Annotated[
    float | None, _knob("temperature", "--temperature", panel=SAMPLING, help="Above 0, at most 10.")
]
TopKOption = Annotated[
    int | None, _knob("top_k", "--top-k", panel=SAMPLING, help="Sample from the k likeliest codes; 0: all.")
]
TopPOption = Annotated[
    float | None, _knob("top_p", "--top-p", panel=SAMPLING, help="Nucleus sampling: above 0, at most 1.")
]
RepetitionPenaltyOption = Annotated[
    float | None, _knob("repetition_penalty", "--repetition-penalty", panel=SAMPLING, help="1 (off) to 100.")
]
LengthPenaltyOption = Annotated[
    float | None, _knob("length_penalty", "--length-penalty", panel=SAMPLING, help="For beams: -10 to 10.")
]
BeamsOption = Annotated[int | None, _knob("n_beams", "--beams", panel=SAMPLING, help="Beam search width, 1 to 16.")]
MaxCodesOption = Annotated[
    int | None,
    _knob("max_codes", "--max-codes", panel=SAMPLING, help="Most codes of a segment, 25 or 50 a second."),
]
GreedyFlag = Annotated[bool, _flag("--greedy", SAMPLING, help="Take the likeliest code instead of sampling.")]
StepsOption = Annotated[int | None, _knob("n_steps", "--steps", panel=MEL, help="Steps of flow matching, 1 to 1000.")]
DurationFactorOption = Annotated[
    float | None,
    _knob("duration_factor", "--duration-factor", panel=MEL, help="Length of the speech, 0.5 to 2; above 1 slower."),
]
LookaheadOption = Annotated[
    float | None,
    _knob(
        *("lookahead_s", "--lookahead"),
        metavar="SECONDS",
        panel=MEL,
        help="End of a stream's chunk that is computed again with the next: 0.07 to 2; more: smoother, later sound.",
    ),
]
PromptSecondsOption = Annotated[
    float | None,
    _option(
        "--prompt-seconds",
        panel=MEL,
        help="Length of the recording used as prompt of the flow, 0.5 to 15; less is faster. [all]",
    ),
]
SolverOption = Annotated[
    str | None,
    _knob("solver", "--solver", panel=MEL, help="euler, ab2, heun or midpoint (the last two: two evaluations a step)."),
]
CfgRateOption = Annotated[
    float | None,
    _knob(
        "cfg_rate",
        "--cfg-rate",
        panel=MEL,
        help="Classifier-free guidance, 0 (off, faster) to 10: 0.7 is a scale of 1.7.",
    ),
]
CfgUntilOption = Annotated[
    float | None,
    _knob("cfg_until", "--cfg-until", panel=MEL, help="Guidance up to this flow time, 0 to 1; less is faster."),
]
SwayOption = Annotated[
    float | None,
    _knob("sway", "--sway", panel=MEL, help="-1 to 1.75. Below 0: shorter steps first; above 0: shorter steps last."),
]
NoiseScaleOption = Annotated[
    float | None,
    _knob(
        "noise_scale", "--noise-scale", panel=MEL, help="Scale of the flow's initial noise, 0 to 2; less is plainer."
    ),
]
PresetOption = Annotated[
    str | None,
    _option(
        "--preset",
        panel=MEL,
        complete=completions.presets,
        help="best (upstream's values), balanced or fast; other options override it. [none]",
    ),
]
NoGuardsFlag = Annotated[
    bool, _flag("--no-guards", GUARDS, help="Do not check the speech for wrong length, silence and repeats.")
]
RetriesOption = Annotated[
    int | None,
    _knob("retries", "--retries", panel=GUARDS, help="Attempts with another seed if a guard fires, 0 to 5."),
]

# --- daemon ------------------------------------------------------------------------------------------------

NoDaemonFlag = Annotated[bool, _flag("--no-daemon", DAEMON, help="Speak in this process even if a daemon runs.")]
PlayOnOption = Annotated[
    str | None,
    _option(
        "--play-on",
        panel=DAEMON,
        metavar="here|server",
        help="server: the daemon plays the speech on its own loudspeaker. [here]",
    ),
]
InterruptFlag = Annotated[
    bool,
    _flag("--interrupt", DAEMON, help="End what other calls play through the daemon, instead of waiting for its end."),
]
SocketOption = Annotated[
    Path | None,
    _option(
        "--socket",
        panel=DAEMON,
        metavar="FILE",
        help="Use the daemon at this socket, or fail. Default: for voices with a name, one that listens at "
        "$EDGETTS_SOCKET or $XDG_RUNTIME_DIR/edgetts.sock.",
    ),
]
