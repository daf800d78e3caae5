"""`edgetts say`: text in, speech out, to the speakers, a file or standard output.

Played or piped speech leaves while it is made (`live`); a file alone is made in one go, which is what a seed
repeats on any machine. Everything that can be wrong with the arguments is found before anything slow is loaded.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from edgetts.cli import say_checks as check
from edgetts.cli.common import (
    STDIO,
    ComputeOption,
    DeviceOption,
    JsonOption,
    PackOption,
    Progress,
    QuietOption,
    compute_name,
    environment,
    print_json,
    print_notice,
)
from edgetts.cli.live import StatusLine, give_out, read_stdin
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.api import Audio, SpeechStream
    from edgetts.audio.encode import Format
    from edgetts.audio.playback.sink import PlaybackStats, Sink

VOICE, EMOTION, OUTPUT, PLAYBACK = "Voice", "Emotion", "Output", "Playback"
SAMPLING, MEL, GUARDS = "Generation: codes", "Generation: sound", "Generation: guards"


def _knob(name: str, panel: str, help: str) -> Any:
    return typer.Option(name, rich_help_panel=panel, help=help, show_default=False)


def say(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT|-", help="What to say; - reads it from standard input.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Read the text from a file instead.")
    ] = None,
    markup: Annotated[
        bool,
        typer.Option("--markup", help='Read `[pause:1.5]` and `<break time="500ms"/>` in the text as pauses.'),
    ] = False,
    glossary: Annotated[
        Path | None,
        typer.Option("--glossary", metavar="FILE", help="YAML file of terms and how they are read."),
    ] = None,
    max_segment_tokens: Annotated[
        int | None,
        typer.Option("--max-segment-tokens", help="Longest piece spoken at once: 20 to 600 tokens. [120]"),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option(
            "--voice",
            "-v",
            metavar="VOICE",
            help="A name from `edgetts voices list`, a voice file (.safetensors) or a recording "
            "(WAV, FLAC, OGG or MP3; remembered by its content). Default: $EDGETTS_VOICE, the pack's own.",
            rich_help_panel=VOICE,
        ),
    ] = None,
    emotion: Annotated[
        str | None,
        typer.Option(
            "--emotion",
            "-e",
            metavar="NAME=WEIGHT,...",
            help="Weights from 0 to 2 of happy, angry, sad, afraid, disgusted, melancholic, surprised, calm.",
            rich_help_panel=EMOTION,
        ),
    ] = None,
    emotion_voice: Annotated[
        str | None,
        typer.Option(
            "--emotion-voice",
            metavar="VOICE",
            help="Take the emotion from this recording.",
            rich_help_panel=EMOTION,
        ),
    ] = None,
    emotion_alpha: Annotated[
        float | None, _knob("--emotion-alpha", EMOTION, "How much of the emotion, 0 to 1 (2 with a recording). [1]")
    ] = None,
    emotion_cap: Annotated[
        bool,
        typer.Option(
            "--emotion-cap",
            help="Bias the weights and bound their sum to 0.8, as the web page of IndexTTS-2 does.",
            rich_help_panel=EMOTION,
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Write the speech: .wav, .flac, .ogg, .opus, .mp3 or .pcm; - is standard output. "
            "Without it the speech is played.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="wav, flac, ogg, opus, mp3 or pcm, whatever the file is called.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Bare samples (signed 16 bit, little-endian, mono), to standard output unless -o is given; "
            "their rate is said on standard error.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    srt: Annotated[
        Path | None,
        typer.Option("--srt", metavar="FILE", help="Write subtitles (SubRip).", rich_help_panel=OUTPUT),
    ] = None,
    vtt: Annotated[
        Path | None,
        typer.Option("--vtt", metavar="FILE", help="Write subtitles (WebVTT).", rich_help_panel=OUTPUT),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    play: Annotated[
        bool, typer.Option("--play", help="Play the speech also when it is written with -o.", rich_help_panel=PLAYBACK)
    ] = False,
    output_device: Annotated[
        str | None,
        typer.Option(
            "--output-device",
            metavar="NAME",
            help="Play to the device whose name holds this. [the system's default]",
            rich_help_panel=PLAYBACK,
            show_default=False,
        ),
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List the devices that can play.", rich_help_panel=PLAYBACK)
    ] = False,
    chunks: Annotated[
        str | None,
        _knob("--chunks", PLAYBACK, "Parts of live speech, in codes (50 a second): 30,60 or whole. [measured]"),
    ] = None,
    first_steps: Annotated[
        int | None, _knob("--first-steps", PLAYBACK, "Flow steps of the first part, which is waited for. [--steps]")
    ] = None,
    pack: PackOption = None,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    seed: Annotated[
        int | None, _knob("--seed", SAMPLING, "The same seed and settings give the same audio. [a fresh one]")
    ] = None,
    temperature: Annotated[float | None, _knob("--temperature", SAMPLING, "Above 0, at most 5. [0.8]")] = None,
    top_k: Annotated[int | None, _knob("--top-k", SAMPLING, "Codes to choose from; 0: all. [30]")] = None,
    top_p: Annotated[float | None, _knob("--top-p", SAMPLING, "Probability to choose from, to 1. [0.8]")] = None,
    repetition_penalty: Annotated[
        float | None, _knob("--repetition-penalty", SAMPLING, "1 (off) to 100. [10]")
    ] = None,
    length_penalty: Annotated[
        float | None, _knob("--length-penalty", SAMPLING, "For beams: -10 to 10. [0]")
    ] = None,
    beams: Annotated[int | None, _knob("--beams", SAMPLING, "Beam search width, 1 to 16. [3]")] = None,
    max_codes: Annotated[int | None, _knob("--max-codes", SAMPLING, "Bound per segment, 50 a second. [1500]")] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Do not sample: the likeliest codes.", rich_help_panel=SAMPLING)
    ] = False,
    steps: Annotated[int | None, _knob("--steps", MEL, "Steps of flow matching, 1 to 200. [25]")] = None,
    prompt_seconds: Annotated[
        float | None,
        _knob("--prompt-seconds", MEL, "Of the recording that sound goes on from, 0.5 to 15; less is faster. [all]"),
    ] = None,
    solver: Annotated[
        str | None, _knob("--solver", MEL, "euler, ab2, heun or midpoint (two calls a step). [euler]")
    ] = None,
    cfg_rate: Annotated[
        float | None, _knob("--cfg-rate", MEL, "Classifier-free guidance, 0 (off, faster) to 10. [0.7]")
    ] = None,
    cfg_until: Annotated[
        float | None, _knob("--cfg-until", MEL, "Guidance up to this part of the way, 0 to 1; less is faster. [1]")
    ] = None,
    sway: Annotated[
        float | None, _knob("--sway", MEL, "-1 to 1.75: below 0 shorter steps first, above 0 last. [0: even]")
    ] = None,
    preset: Annotated[
        str | None, _knob("--preset", MEL, "best (upstream's numbers), balanced or fast; other options win. [none]")
    ] = None,
    no_guards: Annotated[
        bool,
        typer.Option(
            "--no-guards",
            help="Do not bound codes by the text nor notice silence and repeats.",
            rich_help_panel=GUARDS,
        ),
    ] = False,
    retries: Annotated[
        int | None, _knob("--retries", GUARDS, "Tries with another seed when a guard fires, 0 to 5. [1]")
    ] = None,
) -> None:
    """Speak a text.

    Examples:

        edgetts say "Good morning." --voice me.wav

        edgetts say "Good morning." --voice me.wav -o morning.wav

        some-language-model | edgetts say - -v me

        edgetts say "How could you?" -v me -e angry=0.6,sad=0.2 -o angry.mp3

        cat story.txt | edgetts say - -v me -o story.flac --seed 1

        edgetts say "Hello" -v me --raw | aplay -f S16_LE -r 22050
    """
    if list_devices:
        _list_devices()
        return
    from edgetts.options import preset_options

    given = {
        "seed": seed,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "length_penalty": length_penalty,
        "n_beams": beams,
        "max_codes": max_codes,
        "do_sample": False if greedy else None,
        "n_steps": steps,
        "first_steps": first_steps,
        "prompt_s": prompt_seconds,
        "solver": solver,
        "cfg_rate": cfg_rate,
        "cfg_until": cfg_until,
        "sway": sway,
        "guards": False if no_guards else None,
        "retries": retries,
        "max_segment_tokens": max_segment_tokens,
    }
    options = {**preset_options(preset), **{name: value for name, value in given.items() if value is not None}}
    way = compute_name(compute)
    chosen_emotion = check.emotion(emotion, emotion_voice, emotion_alpha, emotion_cap)
    if raw and output is None:
        output = STDIO
    target = check.target(output, format, raw=raw, as_json=as_json)
    is_played = play or target is None
    if output_device is not None and not is_played:
        raise UsageError("--output-device has no effect with -o alone: add --play, or drop one of them.")
    written = check.chosen_format(output, format, raw=raw) if target is not None else None
    is_live = is_played or (target == STDIO and written is not None and written.container is None)
    if not is_live and (chunks is not None or first_steps is not None):
        raise UsageError("--chunks and --first-steps have no effect with -o FILE alone: add --play, or drop them.")
    sizes = check.chunk_sizes(chunks)
    for path in filter(None, (srt, vtt)):
        check.subtitle_target(path)
    words = read_stdin() if is_live and text == STDIO and file is None else check.text(text, file)
    check.check_options(options, greedy=greedy, no_guards=no_guards)

    from edgetts.pack.locate import locate_pack
    from edgetts.text.glossary import Glossary
    from edgetts.voices_store import SUFFIX, looks_like_path

    known = environment(context)
    located = locate_pack(pack or known.pack, known.home)
    notices = [located.notice] if located.notice else []
    terms = Glossary.load(glossary) if glossary is not None else None

    from edgetts.api import TTS

    stats: PlaybackStats | None = None
    with contextlib.ExitStack() as stack:
        sink: Sink | None = None
        with Progress(enabled=not quiet) as progress:
            progress("opening the pack", 0.0)
            tts = TTS.load(
                located.path,
                device=device or known.device or "auto",
                home=known.home,
                kernel=known.kernel or "auto",
                compute=way,
            )
            if is_played:
                sink = stack.enter_context(_sink(output_device))
                sink.open(tts.sample_rate)  # before anything slow: a missing device is said at once
            reference = voice or known.voice
            speaker = tts.voice(reference, progress=progress)
            if reference is not None and looks_like_path(reference) and not reference.endswith(SUFFIX):
                notices += speaker.notices  # of a recording; a stored voice told them when it was made
            call: dict[str, Any] = {"emotion": chosen_emotion, "glossary": terms, "markup": markup, **options}
            if isinstance(words, str) and not is_live:
                audio = tts.say(words, speaker, progress=progress, **call)
            else:
                stream = tts.stream(words, speaker, progress=progress, chunks=sizes, **call)
        if is_live:
            if raw:
                print(f"raw PCM: s16le, {tts.sample_rate} Hz, mono", file=sys.stderr)
            audio = _speak_live(stream, sink, target, written, quiet=quiet or as_json)
            stats = sink.stats if sink is not None else None
    notices += [n for n in audio.notices if n not in notices]
    if not (quiet or as_json):
        for notice in notices:
            print_notice(notice)
    if raw and not is_live:
        print(f"raw PCM: s16le, {audio.sample_rate} Hz, mono", file=sys.stderr)
    _write(audio, target, written, is_written=is_live and target == STDIO)
    check.write_subtitles(audio, srt, vtt)
    if as_json:
        print_json(check.report(audio, target, written, stats, notices))


def _speak_live(
    stream: SpeechStream, sink: Sink | None, target: str | None, written: Format | None, *, quiet: bool
) -> Audio:
    from edgetts.api import Audio
    from edgetts.audio.encode import wav_header

    pipe: BinaryIO | None = None
    header = b""
    if target == STDIO and written is not None:
        pipe = sys.stdout.buffer
        header = b"" if written.name == "pcm" else wav_header(stream.sample_rate, None)
    with stream, StatusLine(enabled=not quiet) as status:
        parts = give_out(stream, sink, pipe, header, status)
        return Audio.of(stream, parts)


def _write(audio: Audio, target: str | None, written: Format | None, *, is_written: bool) -> None:
    from edgetts.audio import encode

    if target is None or written is None or is_written:
        return
    data = encode.encode(audio.samples, audio.sample_rate, written, streamed=target == STDIO)
    if target == STDIO:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    encode.write_file(target, data)


def _sink(device: str | None) -> Sink:
    from edgetts.audio.playback.portaudio import PortAudioSink

    return PortAudioSink(device)


def _list_devices() -> None:
    from edgetts.audio.playback.devices import list_devices

    for device in list_devices():
        default = "  (default)" if device.is_default else ""
        print(f"{device.name}  [{device.host_api}, {device.channels} ch, {device.default_rate} Hz]{default}")
