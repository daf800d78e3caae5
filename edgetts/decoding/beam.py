"""Beam search bookkeeping on the host: open beams, finished sequences, the winner; and the same with one beam.

In: for every step the best candidates over all beams (score, code, beam), best first. Out: for every
beam, its parent and the code it appends; the codes that are certain; in the end the best sequence of codes. Knows no
networks, tensors or random numbers. Beams are linked lists, so histories are not copied.

Source: the beam search of Hugging Face transformers with `early_stopping=False`, which upstream uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgetts.decoding.settings import DecodeSettings

DEAD_BEAM_SCORE = -1e9
"""Initial score of all beams but the first: before the first code all beams are equal."""


@dataclass(frozen=True)
class Candidate:
    score: float  # sum of processed log-probabilities, this code included
    code: int
    beam: int  # its parent


@dataclass(frozen=True)
class Hypothesis:
    score: float  # over length ** length_penalty
    codes: list[int]
    stopped: bool  # ended by the stop code, not by the end of the loop


@dataclass(frozen=True, eq=False)
class _Link:
    """The newest code of a beam, linked to the codes before it. The root has no code."""

    code: int
    before: _Link | None
    n_codes: int = 0  # up to this one

    def add(self, code: int) -> _Link:
        return _Link(code, self, self.n_codes + 1)

    def codes(self, start: int = 0) -> list[int]:
        """From the code number `start` on."""
        result, link = [], self
        while link.before is not None and link.n_codes > start:
            result.append(link.code)
            link = link.before
        return result[::-1]

    def first(self, n_codes: int) -> _Link:
        """The link after the first `n_codes` codes."""
        link = self
        while link.before is not None and link.n_codes > n_codes:
            link = link.before
        return link


@dataclass(frozen=True, eq=False)
class _Finished:
    """A sequence that competes for the result."""

    score: float  # over length ** length_penalty
    end: _Link
    stopped: bool


class BeamSearch:
    """The state of one search. `n_beams` at least 2, `stop_code` ends a sequence and is not part of it.

    done: no open beam can beat the finished sequences, or there are `max_codes`. stopped: the winner has its stop code.
    """

    def __init__(self, n_beams: int, length_penalty: float, stop_code: int, max_codes: int) -> None:
        self.n_beams = n_beams
        self.length_penalty = length_penalty
        self.stop_code = stop_code
        self.max_codes = max_codes
        self.scores = [0.0] + [DEAD_BEAM_SCORE] * (n_beams - 1)
        self.n_codes = 0
        self.done = False
        self.stopped = False
        self._is_won = False
        self._finished: list[_Finished] = []
        self.added: list[Candidate] = []
        """What each beam added at the latest step, and to which beam."""
        root = _Link(stop_code, None)
        self._beams = [root] * n_beams
        self._common = [[0] * n_beams for _ in range(n_beams)]  # length of the common prefix of two beams
        self.n_shared_codes = 0
        """Length of the prefix that every beam shares with its parent in the latest step: the cache need not copy
        it."""
        self._n_settled = 0

    @property
    def n_candidates(self) -> int:
        """Candidates per step: enough to continue even if each beam's best is the stop code."""
        return 2 * self.n_beams

    def step(self, candidates: list[Candidate]) -> list[int]:
        """Take `n_candidates` candidates, best first. Returns the codes that became certain: all open beams and
        finished sequences share them; with the last step, the rest of the winner's."""
        length = self.n_codes + 1
        chosen: list[Candidate] = []
        for rank, candidate in enumerate(candidates):
            if candidate.code != self.stop_code:
                chosen.append(candidate)
            elif rank < self.n_beams:  # as upstream: a stop code below the best n_beams is dropped
                link = self._beams[candidate.beam]
                self._compete(self._finished, link, candidate.score, length, stopped=True)
            if len(chosen) == self.n_beams:
                break
        replaced = [self._common[b][c.beam] for b, c in enumerate(chosen) if b != c.beam]
        self.n_shared_codes = min(replaced, default=self.n_codes)
        self._common = [
            [self._common[a.beam][b.beam] if a.beam != b.beam else self.n_codes for b in chosen] for a in chosen
        ]
        self._beams = [self._beams[c.beam].add(c.code) for c in chosen]
        self.scores = [c.score for c in chosen]
        self.added = chosen
        self.n_codes = length
        if len(self._finished) == self.n_beams:
            attainable = self._normalized(max(c.score for c in candidates), length)
            self._is_won = min(h.score for h in self._finished) >= attainable
        self.done = self._is_won or length == self.max_codes
        if not self.done:
            return self._newly_settled()
        best = self.best()
        self.stopped = best.stopped
        return best.codes[self._n_settled :]

    def _newly_settled(self) -> list[int]:
        ends = [*self._beams, *(f.end for f in self._finished)]
        n_codes = min(e.n_codes for e in ends)
        shared = {e.first(n_codes) for e in ends}
        while len(shared) > 1:
            n_codes -= 1
            shared = {e.first(n_codes) for e in shared}
        settled = shared.pop().codes(self._n_settled)
        self._n_settled += len(settled)
        return settled

    def best(self) -> Hypothesis:
        """The winner. Open beams compete, too, unless the search ended because they could not win."""
        finished = list(self._finished)
        if not self._is_won:
            for beam, score in zip(self._beams, self.scores, strict=True):
                self._compete(finished, beam, score, self.n_codes, stopped=False)
        # Among equal scores the one found last wins, as in upstream's stable sort.
        winner = max(reversed(finished), key=lambda h: h.score)
        return Hypothesis(winner.score, winner.end.codes(), winner.stopped)

    def _normalized(self, score: float, length: int) -> float:
        return float(score / length**self.length_penalty)

    def _compete(self, finished: list[_Finished], beam: _Link, score: float, length: int, *, stopped: bool) -> None:
        """Add a sequence to `finished` if it is among the `n_beams` best there."""
        score = self._normalized(score, length)
        if len(finished) < self.n_beams or score > min(h.score for h in finished):
            finished.append(_Finished(score, beam, stopped))
            if len(finished) > self.n_beams:
                finished.remove(min(finished, key=lambda h: h.score))


class OneBeam:
    """A search with one beam: each step takes its best candidate, which is certain at once. Used as `BeamSearch`."""

    n_candidates = 1
    n_shared_codes = 0  # no beam replaces another
    scores = (0.0,)

    def __init__(self, stop_code: int, max_codes: int) -> None:
        self.stop_code = stop_code
        self.max_codes = max_codes
        self.n_codes = 0
        self.done = False
        self.stopped = False
        self.added: list[Candidate] = []

    def step(self, candidates: list[Candidate]) -> list[int]:
        """Take the best candidate. Returns its code, or nothing if that is the stop code."""
        self.added = candidates[:1]
        code = candidates[0].code
        self.n_codes += 1
        self.stopped = code == self.stop_code
        self.done = self.stopped or self.n_codes == self.max_codes
        return [] if self.stopped else [code]


Search = BeamSearch | OneBeam


def search_with(settings: DecodeSettings, stop_code: int) -> Search:
    """A new search. One beam needs no length penalty: no other sequence competes with it."""
    if settings.n_beams == 1:
        return OneBeam(stop_code, settings.max_codes)
    return BeamSearch(settings.n_beams, settings.length_penalty, stop_code, settings.max_codes)
