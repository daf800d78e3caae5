"""Codes in bursts where the network is: a state with fixed addresses, a runner, noise ahead of time, results behind.

In: a `GPTPrompt`, settings, a seeded CPU generator, then "launch n" and "poll". Out: the candidates of each choice, as
`decoding.bursts` reads them. A launch draws the noise of its choices on the host, in the order in which the loop on the
host would, queues the steps and the copy of their results into pinned memory, and returns; a poll waits for an event.
It knows neither when a text is over nor which beam wins.

An engine keeps its state from text to text, and makes it larger when a text may need more; an `EnginePool` lends them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.device_choice import NOT_FINITE, choose
from edgetts.backends.runners import Runner, RunnerName, runner_maker
from edgetts.backends.step_state import NOISE_RING, DecodeState, StepKind, bucket_of
from edgetts.decoding.beam import Candidate
from edgetts.decoding.bursts import Engine
from edgetts.decoding.prompt import GPTPrompt, PrefixStates
from edgetts.decoding.sampling import start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT, KVCache

MAX_IDLE = 2  # engines that are kept with their memory while nobody decodes: one beam and several


class DecodeEngine:
    """The choices of one text at a time for `n_rows` rows, by one runner."""

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
        self._launches: deque[tuple[int, torch.cuda.Event | None]] = deque()  # where each ends
        self._prompt: GPTPrompt | None = None

    @property
    def state(self) -> DecodeState | None:
        """None before the first text."""
        return None if self._step is None else self._step.state

    @torch.inference_mode()
    def prefill(self, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None) -> None:
        """Forget the text before, run the prefix and make the first choice.

        Attempts at the same prompt share its states, and the latent pass takes them from the prompt.
        Raises UsageError for a generator that is not the CPU's: its noise could not be drawn ahead.
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
        # The last choice is never fed.
        step, host = self._ready(prompt.embeddings, kind, self._n_prefix + self.n_rows * (settings.max_codes - 1))
        step.state.begin(settings, kind, host.start_seen, self._n_prefix)
        hidden = self._prefix_hidden(prompt, step.state)
        logits = self._gpt.logits(hidden)[:, -1].float().expand(self.n_rows, -1)  # (R, K)
        self._draw(host, step.state, 1)
        choose(logits, step.state, kind, self._gpt.config.stop_mel_token)
        self._launched(host, step.state, 1)

    @torch.inference_mode()
    def launch(self, n: int) -> int:
        """Start the next `n` choices, or as many as there may still be, and say how many; does not wait for them."""
        assert self._step is not None and self._host is not None
        n = min(n, self._max_codes - self._n_launched)
        if self._n_launched + n - self._n_read > NOISE_RING:
            raise RuntimeError(f"{self._n_launched - self._n_read} choices were not read, and {n} more do not fit")
        if n <= 0:
            return 0
        self._draw(self._host, self._step.state, n)
        for number in range(self._n_launched, self._n_launched + n):
            self.runner.run(self._step, bucket_of(self._n_prefix + self.n_rows * number))
        self._launched(self._host, self._step.state, n)
        return n

    def poll(self) -> list[list[Candidate]]:
        """Wait for the oldest launch that was not read, and give the candidates of its choices, best first.

        A choice without candidates: the scores were no numbers, and what follows is not to be used.
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
        """Have the runner do ahead, for steps over up to `n_slots` keys, what it does once: for a warm start."""
        self._drain()
        step, _ = self._ready(embeddings, StepKind.of(settings, self._gpt.config.n_mel_codes), n_slots)
        for bucket in range(bucket_of(1), bucket_of(n_slots) + 1, bucket_of(1)):
            self.runner.prepare(step, bucket)

    def _ready(self, embeddings: Tensor, kind: StepKind, n_slots: int) -> tuple[DecodeStep, _HostSide]:
        """A step and its state, with room for so many keys: what there is, or larger."""
        state = self.state
        if state is None or state.n_slots < n_slots or state.storage.dtype != embeddings.dtype:
            self.runner.forget()
            self._step = state = None  # its memory goes before more is taken
            state = DecodeState.allocate(
                self._gpt, self.n_rows, bucket_of(n_slots), embeddings.device, embeddings.dtype
            )
            self._host = _HostSide(self._gpt, state)
        assert self._host is not None
        if self._step is None or self._step.kind != kind:
            self._step = DecodeStep(self._gpt, state, kind)
        return self._step, self._host

    def _prefix_hidden(self, prompt: GPTPrompt, state: DecodeState) -> Tensor:
        """Hidden state (1, 1, C) of the start code, with the keys and values of all before it in the state."""
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
        """Noise of the next `n` choices, drawn one after the other as `decoding.sampling.sample` does."""
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
        """Wait for what was launched and is not wanted any more: it still reads the noise."""
        if self._launches and (event := self._launches[-1][1]) is not None:
            event.synchronize()
        self._launches.clear()

    def _discard_states(self) -> None:
        """What is no number must not stay in masked slots, whose weight is 0, nor be taken for latents."""
        self._drain()
        if self._step is not None:
            self._step.state.storage.zero_()
        if self._prompt is not None:
            self._prompt.states.clear()


class _HostSide:
    """Memory of the host that is copied from and to while steps run; pinned where that is a GPU."""

    def __init__(self, gpt: GPT, state: DecodeState) -> None:
        pinned = state.picks.is_cuda
        self.noise = torch.empty(state.noise.shape, pin_memory=pinned)
        self.picks = torch.full(state.picks.shape, NOT_FINITE, dtype=torch.int64, pin_memory=pinned)
        self.values = torch.zeros(state.values.shape, pin_memory=pinned)
        self.start_seen = start_seen(gpt.config, 1, state.picks.device)  # (1, K), on the device


class EnginePool:
    """Engines for the decodings that go on at the same time; what is given back serves the next. Any thread may ask."""

    def __init__(self, gpt: GPT, make_runner: Callable[[], Runner]) -> None:
        self._gpt = gpt
        self._make_runner = make_runner
        self._lock = threading.Lock()
        self._idle: list[DecodeEngine] = []
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know about how codes are made here."""
        with self._lock:
            return tuple(self._notices)

    def take(self, n_rows: int) -> DecodeEngine:
        with self._lock:
            # The one used last: its state is the likeliest to be large enough.
            for engine in reversed(self._idle):
                if engine.n_rows == n_rows:
                    self._idle.remove(engine)
                    return engine
        return DecodeEngine(self._gpt, n_rows, self._make_runner())

    def give_back(self, engine: Engine) -> None:
        assert isinstance(engine, DecodeEngine)
        with self._lock:
            self._notices.update(dict.fromkeys(engine.runner.notices))
            self._idle.append(engine)
            del self._idle[:-MAX_IDLE]


def engines(gpt: GPT, device: torch.device, runner: RunnerName) -> EnginePool | None:
    """Engines by a runner, or None where that leaves the choice of codes to the host. Raises UsageError for a name."""
    make_runner = runner_maker(runner, device)
    return None if make_runner is None else EnginePool(gpt, make_runner)
