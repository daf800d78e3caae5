"""The segments of a stream, from a whole text or from one that arrives while it is spoken.

In: a text's plan, or pieces of text and a planner. Out: segments, in order. When decoding is ready for more, all
complete clauses are planned together: a backlog gets longer, better segments, and a single clause is spoken at once.
Knows no networks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from edgetts.decoding.guards import Expected
from edgetts.errors import Cancelled, UsageError
from edgetts.streaming.clauses import ClauseSplitter
from edgetts.streaming.state import QueuedSegment, StreamState
from edgetts.text.config import Language
from edgetts.text.frontend import TextPlan
from edgetts.text.lines import pause_of
from edgetts.text.markdown import MarkdownStripper
from edgetts.text.traced import TracedText

Planner = Callable[[str, "Language | None"], TextPlan]  # of a text and the language before it

MAX_PLANNED_CHARS = 2000  # per plan; the rest is planned while these are spoken
MAX_WAITING_CHARS = 4 * MAX_PLANNED_CHARS  # minutes of speech; beyond it `push` waits
SLICE_CHARS = 1000  # of a long piece; its first clauses are planned while the rest is read
MAX_GAP_CHARS = 100  # of white space considered between two lines
LINE_WAIT_S = 0.3  # after a long line, for text that shows whether its sentence continues


def queued_segments(plan: TextPlan, ready_at: float, offset: int = 0, pause_s: float = 0.0) -> Iterator[QueuedSegment]:
    """Segments of a plan whose text begins at `offset`; `pause_s` of silence comes before it."""
    pause_s = max(pause_s, plan.pause_before_s)
    for segment in plan.segments:
        yield QueuedSegment(
            text=segment.text,
            written=segment.written,
            ids=segment.ids,
            start=offset + segment.start,
            end=offset + segment.end,
            pause_before_s=pause_s,
            expected=Expected(segment.length.least_s, segment.length.most_s, segment.length.max_silence_s, segment.ids),
            ready_at=ready_at,
            language=segment.language,
        )
        pause_s = segment.pause_after_s


class TextFeed:
    """Text in pieces: `push`, then `finish` or `fail`, from any thread. Iterating in another thread yields segments.

    The text waiting to be spoken is bounded: `push` blocks until there is room; `offer` never blocks and refuses
    instead.
    """

    def __init__(
        self,
        state: StreamState,
        planner: Planner,
        *,
        markup: bool,
        notices: list[str],
        markdown: bool = False,
        annotations: bool = False,
    ) -> None:
        self._state = state
        self._planner = planner
        self._stripper = MarkdownStripper(markup=markup) if markdown else None
        self._splitter = ClauseSplitter(markup=markup, annotations=annotations)
        self._n_read = 0  # characters pushed
        self._origins: list[int] = []  # positions in the user's text of the characters not planned yet
        self._notices = notices  # the plans' notices are appended here
        self._clauses: list[tuple[str, float]] = []  # and when each was complete
        self._n_waiting = 0  # characters in them
        self._is_finished = False

    def push(self, piece: str) -> None:
        """Append text; blocks until there is room. Raises Cancelled if the stream was closed."""
        for part in slices(piece):
            while not self.offer(part):
                with self._state.changed:
                    self._state.wait_until(self._has_room)

    def offer(self, part: str) -> bool:
        """Append one of the `slices` of a piece if there is room; returns whether it did. The state signals room."""
        with self._state.changed:
            if self._state.is_cancelled:
                raise Cancelled("The speech was cancelled.")
            if not self._has_room():
                return False
            self._add(self._splitter.push(self._read(part)), is_last=False)
        return True

    def finish(self) -> None:
        """End the text."""
        with self._state.changed:
            rest = self._splitter.push(self._read("", is_last=True))
            self._add([*rest, *self._splitter.flush()], is_last=True)

    def fail(self, error: BaseException) -> None:
        """The text source failed: the stream outputs what it has, then raises `error`."""
        self._state.fail(error)

    def _read(self, part: str, *, is_last: bool = False) -> str:
        """A part of the text without its marks of Markdown."""
        read = TracedText.of(part, self._n_read) if self._stripper is None else self._stripper.push(part)
        if is_last and self._stripper is not None:
            read = TracedText.join([read, self._stripper.finish()])
        self._n_read += len(part)
        self._origins += read.origins
        return read.text

    def _has_room(self) -> bool:
        return self._n_waiting < MAX_WAITING_CHARS

    def _add(self, clauses: list[str], *, is_last: bool) -> None:
        now = time.perf_counter()
        if self._state.is_cancelled:
            raise Cancelled("The speech was cancelled.")
        self._clauses += [(clause, now) for clause in clauses]
        self._n_waiting += sum(map(len, clauses))
        self._is_finished = is_last
        self._state.changed.notify_all()

    def _await_clauses(self) -> None:
        """Wait for clauses or the end. A long line counts as a clause if nothing follows it for LINE_WAIT_S."""
        state = self._state

        def is_here() -> bool:
            return bool(self._clauses) or self._is_finished

        state.is_waiting_for_text = not is_here()
        while not is_here():
            state.wait_until(lambda: is_here() or self._splitter.waits_after_line)
            if not is_here() and not state.changed.wait_for(lambda: state.is_cancelled or is_here(), LINE_WAIT_S):
                self._add(self._splitter.flush_line(), is_last=False)
        state.is_waiting_for_text = False

    def __iter__(self) -> Iterator[QueuedSegment]:
        pause_s, has_spoken = 0.0, False
        language: Language | None = None  # also of the next clause if that has none, such as figures alone
        has_pause_tag = False  # after the last segment
        before, gap = "", ""  # the last character spoken, and white space after it
        while True:
            with self._state.changed:
                self._await_clauses()
                clauses = self._take()
                is_last = self._is_finished and not self._clauses
                text = "".join(clause for clause, _ in clauses)
                source = TracedText(text, tuple(self._origins[: len(text)]))
                del self._origins[: len(text)]
                self._state.changed.notify_all()
            self._state.tell()  # there is room
            if text.strip():
                plan = self._planner(text, language).traced_to(source)
                language = plan.language
                self._notices += [notice for notice in plan.notices if notice not in self._notices]
                gap += text[: len(text) - len(text.lstrip())]
                if has_spoken and not (has_pause_tag or plan.pause_before_s):
                    pause_s = max(pause_s, pause_of(gap, before))
                queued = list(queued_segments(plan, clauses[0][1], pause_s=pause_s))
                if queued:
                    has_spoken, end = True, plan.segments[-1]
                    has_pause_tag = end.pause_after_s > 0
                    pause_s = end.pause_after_s or end.natural_pause_s  # spent if something follows
                yield from queued
                before, gap = text.rstrip()[-1:], text[len(text.rstrip()) :]
            else:
                gap = (gap + text)[-MAX_GAP_CHARS:]
            if is_last:
                break
        if not has_spoken:
            raise UsageError("There is nothing to speak in the text: " + (" ".join(self._notices) or "it is empty."))

    def _take(self) -> list[tuple[str, float]]:
        """The clauses to plan next, at least one if there are any."""
        n_chars, n = 0, 0
        while n < len(self._clauses) and (n == 0 or n_chars + len(self._clauses[n][0]) <= MAX_PLANNED_CHARS):
            n_chars += len(self._clauses[n][0])
            n += 1
        taken, self._clauses = self._clauses[:n], self._clauses[n:]
        self._n_waiting -= n_chars
        return taken


def slices(piece: str) -> Iterator[str]:
    """Split `piece` into parts short enough for `offer`. Raises UsageError if it is not a string."""
    if not isinstance(piece, str):
        raise UsageError(f"The pieces of a text must be strings; one of them is a {type(piece).__name__}.")
    return (piece[start : start + SLICE_CHARS] for start in range(0, len(piece), SLICE_CHARS))


def pump(pieces: Iterable[str], feed: TextFeed) -> threading.Thread:
    """Push `pieces` into `feed` in a new thread, which ends after the last one or, if cancelled, at the next one."""

    def read() -> None:
        try:
            for piece in pieces:
                feed.push(piece)
            feed.finish()
        # Any exception, SystemExit included: the consumer raises it and must not wait forever.
        except BaseException as error:
            feed.fail(error)  # no effect on a closed stream

    thread = threading.Thread(target=read, name="edgetts-text", daemon=True)
    thread.start()
    return thread
