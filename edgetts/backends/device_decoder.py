"""Decoding in bursts on the device: state at fixed addresses, a runner, noise drawn ahead, results read later.

In: a `GPTPrompt`, settings, a seeded CPU generator, then `launch(n)` and `poll()`. Out: the candidates of each choice,
as `decoding.bursts` reads them. A launch draws noise on the host in the order of the host loop, queues the steps and
the copy of their results to pinned memory, and returns; a poll waits for a CUDA event. It does not know when a text
ends or which beam wins.

A decoder reuses its state for the next text and enlarges it when needed; `DeviceDecoders` shares them between threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from edgetts.backends.code_choice import NOT_FINITE, choose
from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.runners import Runner, RunnerName, runner_maker
from edgetts.backends.step_state import NOISE_RING, DecodeState, StepKind, bucket_of
from edgetts.decoding.beam import Candidate
from edgetts.decoding.bursts import BurstDecoder
from edgetts.decoding.prompt import GPTPrompt, PrefixStates
from edgetts.decoding.sampling import start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT, KVCache

MAX_IDLE = 2  # idle decoders whose memory is kept: typically one for a single beam and one for several


class DeviceDecoder:
    """Decodes one text at a time with `n_rows` rows, through one runner."""

    def __init__(self, gpt: GPT, n_rows: int, runner: Runner) -> None:
        self.n_rows = n_rows
        self.runner = runner
        self._gpt = gpt
        self._step: DecodeStep | None = None
        self._host: _HostSide | None = None
        self._generator: torch.Generator | None = None
        self._n_prefix = 0
        self._max_codes = 0
        self._n_launched = 0
        self._n_read = 0
        self._launches: deque[tuple[int, torch.cuda.Event | None]] = (
            deque()
        )  # number of the choice behind each launch, and its event
        self._prompt: GPTPrompt | None = None

    @property
    def state(self) -> DecodeState | None:
        """None before the first text."""
        return None if self._step is None else self._step.state

    @torch.inference_mode()
    def prefill(self, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None) -> None:
        """Reset, run the prefix and make the first choice.

        The prefix states are kept in the prompt, for further attempts and for the latent pass.
        Raises UsageError unless the generator is on the CPU: noise is drawn ahead on the host.
        """
        if generator is not None and generator.device.type != "cpu":
            raise UsageError(f"The generator is on {generator.device}; codes are drawn with one on the CPU.")
        self._drain()
        self._prompt = prompt
        self._n_prefix = prompt.embeddings.shape[1] + 1  # and the start code
        self._max_codes = settings.max_codes
        self._generator = generator if settings.do_sample else None
        self._n_launched = self._n_read = 0
        kind = StepKind.of(settings, self._gpt.config.n_mel_codes)
        # The last code is never fed back.
        step, host = self._ready(prompt.embeddings, kind, self._n_prefix + self.n_rows * (settings.max_codes - 1))
        step.state.begin(settings, kind, host.start_seen, self._n_prefix)
        hidden = self._prefix_hidden(prompt, step.state)
        logits = self._gpt.logits(hidden)[:, -1].float().expand(self.n_rows, -1)  # (R, K)
        self._draw(host, step.state, 1)
        choose(logits, step.state, kind, self._gpt.config.stop_mel_token)
        self._launched(host, step.state, 1)

    @torch.inference_mode()
    def launch(self, n: int) -> int:
        """Queue the next `n` choices, or as many as max_codes allows, and return their number without waiting."""
        assert self._step is not None and self._host is not None
        n = min(n, self._max_codes - self._n_launched)
        if self._n_launched + n - self._n_read > NOISE_RING:
            raise RuntimeError(
                f"{self._n_launched - self._n_read} choices were not read: poll before launching {n} more"
            )
        if n <= 0:
            return 0
        self._draw(self._host, self._step.state, n)
        for number in range(self._n_launched, self._n_launched + n):
            self.runner.run(self._step, bucket_of(self._n_prefix + self.n_rows * number))
        self._launched(self._host, self._step.state, n)
        return n

    @torch.inference_mode()
    def feed(self, code: int) -> None:
        """Continue with `code` in place of the latest choice: for comparisons, with one row and everything read."""
        assert self.state is not None
        self.state.codes.fill_(code)
        self.state.stopped.fill_(False)

    def poll(self) -> list[list[Candidate]]:
        """Wait for the oldest unread launch and return the candidates of its choices, best first.

        An empty choice means that its scores were not finite; it and all later choices are invalid.
        """
        assert self._host is not None
        end, event = self._launches.popleft()
        if event is not None:
            event.synchronize()
        start, self._n_read = self._n_read, end
        n_codes = self._gpt.config.n_mel_codes
        read = zip(self._host.values[start:end].tolist(), self._host.picks[start:end].tolist(), strict=True)
        choices = [
            [Candidate(v, pick % n_codes, pick // n_codes) for v, pick in zip(values, picks, strict=True) if pick >= 0]
            for values, picks in read
        ]
        if [] in choices:
            self._discard_states()
        return choices

    @torch.inference_mode()
    def prepare(self, settings: DecodeSettings, embeddings: Tensor, n_slots: int) -> None:
        """Warm up: compile or capture the steps for up to `n_slots` keys."""
        self._drain()
        step, _ = self._ready(embeddings, StepKind.of(settings, self._gpt.config.n_mel_codes), n_slots)
        for bucket in range(bucket_of(1), bucket_of(n_slots) + 1, bucket_of(1)):
            self.runner.prepare(step, bucket)

    def _ready(self, embeddings: Tensor, kind: StepKind, n_slots: int) -> tuple[DecodeStep, _HostSide]:
        """A step whose state has room for `n_slots` keys; the state is reused when it is large enough."""
        state = self.state
        if state is None or state.n_slots < n_slots or state.storage.dtype != embeddings.dtype:
            self.runner.forget()
            self._step = state = None  # free the old state before allocating the new one
            state = DecodeState.allocate(
                self._gpt, self.n_rows, bucket_of(n_slots), embeddings.device, embeddings.dtype
            )
            self._host = _HostSide(self._gpt, state)
        assert self._host is not None
        if self._step is None or self._step.kind != kind:
            self._step = DecodeStep(self._gpt, state, kind)
        return self._step, self._host

    def _prefix_hidden(self, prompt: GPTPrompt, state: DecodeState) -> Tensor:
        """Hidden state (1, 1, C) of the start code; keys and values of the prefix go to the state."""
        config, embeddings = self._gpt.config, prompt.embeddings
        room = state.storage[:, :, :, :, : self._n_prefix]
        known = next(iter(prompt.states), None)
        if known is not None and known.storage.dtype == room.dtype:
            room.copy_(known.storage)
            return known.hidden
        start = torch.full((1, 1), config.start_mel_token, device=embeddings.device)
        position = torch.zeros(1, dtype=torch.int64, device=embeddings.device)
        embedded = torch.cat([embeddings, self._gpt.mel_embed(start, position)], dim=1)
        hidden: Tensor = self._gpt(embedded, KVCache(state.storage))[:, -1:]
        prompt.states[:] = [PrefixStates(room.clone(), hidden)]
        return hidden

    def _draw(self, host: _HostSide, state: DecodeState, n: int) -> None:
        """Draw the noise of the next `n` choices, in the order of `decoding.sampling.sample`."""
        if self._generator is None:
            return
        lines = [number % NOISE_RING for number in range(self._n_launched, self._n_launched + n)]
        for line in lines:
            host.noise[line].exponential_(1, generator=self._generator)
        first = lines[0]
        before_end = min(n, NOISE_RING - first)
        for part in (slice(first, first + before_end), slice(0, n - before_end)):
            state.noise[part].copy_(host.noise[part], non_blocking=True)

    def _launched(self, host: _HostSide, state: DecodeState, n: int) -> None:
        """Queue the copy of the results behind the steps."""
        part = slice(self._n_launched, self._n_launched + n)
        host.picks[part].copy_(state.picks[part], non_blocking=True)
        host.values[part].copy_(state.values[part], non_blocking=True)
        event = None
        if state.picks.is_cuda:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(state.picks.device))
        self._n_launched += n
        self._launches.append((self._n_launched, event))

    def _drain(self) -> None:
        """Wait for abandoned launches, which still read the noise ring, and drop their results."""
        if self._launches and (event := self._launches[-1][1]) is not None:
            event.synchronize()
        self._launches.clear()

    def _discard_states(self) -> None:
        """Clear non-finite keys and values:

        masked slots have weight 0, and 0 * NaN is NaN. The latent pass must not reuse them.
        """
        self._drain()
        if self._step is not None:
            self._step.state.storage.zero_()
        if self._prompt is not None:
            self._prompt.states.clear()


class _HostSide:
    """Host buffers that are copied while steps run; pinned when the device is a GPU."""

    def __init__(self, gpt: GPT, state: DecodeState) -> None:
        pinned = state.picks.is_cuda
        self.noise = torch.empty(state.noise.shape, pin_memory=pinned)
        self.picks = torch.full(state.picks.shape, NOT_FINITE, dtype=torch.int64, pin_memory=pinned)
        self.values = torch.zeros(state.values.shape, pin_memory=pinned)
        self.start_seen = start_seen(gpt.config, 1, state.picks.device)  # (1, K), on the device


class DeviceDecoders:
    """Decoders for concurrent decodings; returned ones are reused. Thread-safe."""

    def __init__(self, gpt: GPT, make_runner: Callable[[], Runner]) -> None:
        self._gpt = gpt
        self._make_runner = make_runner
        self._lock = threading.Lock()
        self._idle: list[DeviceDecoder] = []
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """Runner failures and fallbacks to show to the user."""
        with self._lock:
            return tuple(self._notices)

    def take(self, n_rows: int) -> DeviceDecoder:
        with self._lock:
            # The last used decoder first: its state is likely to be large enough.
            for decoder in reversed(self._idle):
                if decoder.n_rows == n_rows:
                    self._idle.remove(decoder)
                    return decoder
        return DeviceDecoder(self._gpt, n_rows, self._make_runner())

    def prepare(self, embeddings: Tensor, settings: DecodeSettings) -> int:
        """For a warm start: prepare every bucket that a text with this prompt may need, and say how many."""
        decoder = self.take(settings.n_beams)
        n_slots = embeddings.shape[1] + 1 + settings.n_beams * (settings.max_codes - 1)
        decoder.prepare(settings, embeddings, n_slots)
        self.give_back(decoder)
        return bucket_of(n_slots) // bucket_of(1)

    def give_back(self, decoder: BurstDecoder) -> None:
        assert isinstance(decoder, DeviceDecoder)
        with self._lock:
            self._notices.update(dict.fromkeys(decoder.runner.notices))
            self._idle.append(decoder)
            del self._idle[:-MAX_IDLE]


def device_decoders(gpt: GPT, device: torch.device, runner: RunnerName) -> DeviceDecoders | None:
    """Decoders for a runner, or None for host decoding. Raises UsageError as `check_runner`."""
    make_runner = runner_maker(runner, device)
    return None if make_runner is None else DeviceDecoders(gpt, make_runner)
