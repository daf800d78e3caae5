"""`edgetts say`: speaks a text to the sound device, a file or standard output.

Played or piped speech is streamed in chunks. A file alone is made from whole segments, which a seed reproduces on any
machine. All arguments are checked before anything slow is loaded.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from edgetts.cli.common import (
    AdaptStepsOption,
    ComputeOption,
    DeviceOption,
    JsonOption,
    MatchSpectrumOption,
    MemoryBudgetOption,
    PackOption,
    ProgressBar,
    QuietOption,
    check_learns,
    compute_name,
    environment,
    importing,
    is_first_time,
    memory_bytes,
    print_json,
    print_notice,
)
from edgetts.cli.say import finish, live, options, request
from edgetts.cli.say.output import check_inputs_stay, check_output, playback_options

if TYPE_CHECKING:
    from edgetts.server.client import RemoteStream
    from edgetts.streaming.stream import SpeechStream

BUILTIN_NOTICE = "builtin-pack"  # the notice that the built-in pack is a demonstration


def say(
    context: typer.Context,
    text: options.TextArgument = None,
    file: options.FileOption = None,
    markup: options.MarkupFlag = False,
    markdown: options.MarkdownFlag = None,
    glossary: options.GlossaryOption = None,
    normalizer: options.NormalizerOption = "edgetts",
    language: options.LanguageOption = None,
    max_segment_tokens: options.MaxSegmentTokensOption = None,
    voice: options.VoiceOption = None,
    adapt_steps: AdaptStepsOption = None,
    match_spectrum: MatchSpectrumOption = None,
    emotion: options.EmotionOption = None,
    emotion_voice: options.EmotionVoiceOption = None,
    emotion_alpha: options.EmotionAlphaOption = None,
    emotion_cap: options.EmotionCapFlag = False,
    output: options.OutputOption = None,
    format: options.FormatOption = None,
    raw: options.RawFlag = False,
    srt: options.SrtOption = None,
    vtt: options.VttOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    play: options.PlayFlag = False,
    output_device: options.OutputDeviceOption = None,
    list_devices: options.ListDevicesFlag = False,
    chunks: options.ChunksOption = None,
    first_steps: options.FirstStepsOption = None,
    pack: PackOption = None,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    memory_budget: MemoryBudgetOption = None,
    seed: options.SeedOption = None,
    temperature: options.TemperatureOption = None,
    top_k: options.TopKOption = None,
    top_p: options.TopPOption = None,
    repetition_penalty: options.RepetitionPenaltyOption = None,
    length_penalty: options.LengthPenaltyOption = None,
    n_beams: options.BeamsOption = None,
    max_codes: options.MaxCodesOption = None,
    greedy: options.GreedyFlag = False,
    n_steps: options.StepsOption = None,
    duration_factor: options.DurationFactorOption = None,
    lookahead_s: options.LookaheadOption = None,
    prompt_s: options.PromptSecondsOption = None,
    solver: options.SolverOption = None,
    cfg_rate: options.CfgRateOption = None,
    cfg_until: options.CfgUntilOption = None,
    sway: options.SwayOption = None,
    noise_scale: options.NoiseScaleOption = None,
    preset: options.PresetOption = None,
    no_guards: options.NoGuardsFlag = False,
    retries: options.RetriesOption = None,
    no_daemon: options.NoDaemonFlag = False,
    socket: options.SocketOption = None,
    play_on: options.PlayOnOption = None,
    interrupt: options.InterruptFlag = False,
) -> None:
    """Speak a text.

    Examples:

        edgetts say "Good morning." --voice me.wav

        edgetts say Good morning, everyone

        edgetts say "Good morning." --voice me.wav -o morning.wav

        some-language-model | edgetts say - -v me

        edgetts say "How could you?" -v me -e angry=0.6,sad=0.2 -o angry.mp3

        cat story.txt | edgetts say - -v me -o story.flac --seed 1

        edgetts say "Hello" -v me --raw | aplay -f S16_LE -r 22050
    """
    if list_devices:
        live.print_devices()
        return
    knobs = request.synthesis_options(context.params, preset, greedy=greedy, no_guards=no_guards)
    compute_mode = compute_name(compute)
    budget = memory_bytes(memory_budget)
    chosen_emotion = request.emotion(emotion, emotion_voice, emotion_alpha, emotion_cap)
    out = check_output(
        *(output, format),
        raw=raw,
        play=play,
        device=output_device,
        chunks=chunks,
        first_steps=first_steps,
        srt=srt,
        vtt=vtt,
        as_json=as_json,
    )
    playing = playback_options(out, play_on, interrupt=interrupt, no_daemon=no_daemon)
    words = request.words(text or (), file, is_live=out.is_live)
    whole = words.text if isinstance(words.text, str) else None

    from edgetts.cli.say.remote import check_daemon, find_daemon
    from edgetts.pack.locate import locate_pack
    from edgetts.text.glossary import Glossary
    from edgetts.text.normalizers import check_normalizer
    from edgetts.voices.names import is_recording, looks_like_path

    known = environment(context)
    reference = voice or known.voice
    check_inputs_stay(
        out,
        {
            "--voice": reference if reference is not None and looks_like_path(reference) else None,
            "--emotion-voice": emotion_voice,
            "-f": None if file == "-" else file,
            "--glossary": glossary,
        },
    )
    check_learns(adapt_steps, match_spectrum, is_recording(reference), reference)
    located = locate_pack(pack or known.pack, known.home)
    shows_notices = not (quiet or as_json)
    notices = [located.notice] if located.notice and shows_notices and is_first_time(BUILTIN_NOTICE, known.home) else []
    notices += words.notices
    terms = Glossary.load(glossary) if glossary is not None else None

    from edgetts.request import WHOLE, SpeechRequest

    asked = SpeechRequest(
        text=whole,
        voice=reference,
        emotion=chosen_emotion,
        options=knobs,
        glossary=terms,
        markup=markup,
        markdown=words.may_be_markdown if markdown is None else markdown,
        normalizer=check_normalizer(normalizer),
        chunks=out.chunks if out.is_live else WHOLE,
    )
    pieces = None if isinstance(words.text, str) else words.text
    daemon = None
    if not no_daemon:
        asks = compute if compute is None else compute_mode
        named = pack or known.pack
        daemon = find_daemon(
            *((asked.voice, emotion_voice), known, located),
            chosen=socket,
            pack=named,
            device=device,
            compute=asks,
            budget=budget,
        )
    check_daemon(playing, daemon)
    if daemon is None:
        with importing():
            from edgetts.api import TTS

    with contextlib.ExitStack() as stack:
        sink = None
        with ProgressBar(enabled=not quiet) as progress:
            if daemon is None:
                progress("opening the pack", 0.0)
                tts = TTS.load(
                    located,
                    device=device or known.device or "auto",
                    home=known.home,
                    kernel=known.kernel or "auto",
                    compute=compute_mode,
                    memory_budget=budget,
                )
            sample_rate = tts.sample_rate if daemon is None else daemon.sample_rate
            if out.is_played and playing.get("plays") != "server":
                sink = stack.enter_context(live.open_sink(out.device))
                sink.open(sample_rate)  # before anything slow: a missing device is reported at once
            stream: SpeechStream | RemoteStream
            if daemon is not None:
                stream = daemon.start(asked, pieces, playing)
            else:
                stream = tts.start(asked, pieces=pieces, progress=progress, tell=None if quiet else print_notice)
            if not out.is_live:
                assert whole is not None
                n_samples = finish.write_speech(stream, out, len(whole), progress)
        if out.is_raw and not quiet:
            finish.print_rate(sample_rate)
        told = stream.speed_notice if out.is_played and shows_notices else None
        if told is not None:  # before playback; the other notices come after it
            print_notice(told)
        if out.is_live:
            n_samples = live.speak(stream, sink, out, quiet=quiet or as_json)
        stats = sink.stats if sink is not None else getattr(stream, "playback", None)
    speech = finish.speech_of(stream, n_samples)
    notices += [n for n in speech.notices if n not in notices]
    if shows_notices:
        for notice in (n for n in notices if n != told):
            print_notice(notice)
    finish.write_subtitles(speech, out)
    if as_json:
        print_json(finish.report(speech, out, stats, notices))
