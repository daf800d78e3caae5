"""Beam search on the host: which beams go on, which are finished, which one wins.

In: for every step the best candidates over all beams (score, code, beam), best first. Out: for every
beam the beam it continues and the code it adds; in the end the best sequence of codes. It knows nothing
of networks, tensors or random numbers, and copies no histories: a beam is a chain of links.

Source: the beam search of Hugging Face transformers with `early_stopping=False`, which upstream uses.
"""

from __future__ import annotations

from dataclasses import dataclass

DEAD_BEAM_SCORE = -1e9
"""Score of all beams but one before the first code, as they are all the same beam then."""


@dataclass(frozen=True)
class Candidate:
    score: float  # sum of processed log-probabilities, this code included
    code: int
    beam: int  # that it would continue


@dataclass(frozen=True)
class Hypothesis:
    score: float  # over length ** length_penalty
    codes: list[int]
    stopped: bool  # ended by the stop code, not by the end of the loop


@dataclass(frozen=True, eq=False)
class _Link:
    """The newest code of a beam and what came before it; the first link of all carries no code."""

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
        """The link that ends the leading `n_codes` of them."""
        link = self
        while link.before is not None and link.n_codes > n_codes:
            link = link.before
        return link


@dataclass(frozen=True, eq=False)
class _Finished:
    """A sequence that competes for the end."""

    score: float  # over length ** length_penalty
    end: _Link
    stopped: bool


class BeamSearch:
    """The state of one search. `n_beams` at least 2, `stop_code` ends a sequence and is not part of it."""

    def __init__(self, n_beams: int, length_penalty: float, stop_code: int) -> None:
        self.n_beams = n_beams
        self.length_penalty = length_penalty
        self.stop_code = stop_code
        self.scores = [0.0] + [DEAD_BEAM_SCORE] * (n_beams - 1)
        self.n_codes = 0
        self.done = False
        self._finished: list[_Finished] = []
        self.added: list[Candidate] = []
        """What each beam added at the latest step, and to which beam."""
        root = _Link(stop_code, None)
        self._beams = [root] * n_beams
        self._common = [[0] * n_beams for _ in range(n_beams)]  # leading codes that two beams share
        self.n_shared_codes = 0
        """Leading codes in which, at the latest step, every beam agreed with the one it was replaced by:
        what a cache need not copy."""
        self._n_settled = 0

    @property
    def n_candidates(self) -> int:
        """Candidates that a step needs: enough to go on when each beam's best is the stop code."""
        return 2 * self.n_beams

    def step(self, candidates: list[Candidate]) -> list[Candidate]:
        """Take `n_candidates` candidates, best first; returns what each beam adds, and to which beam.

        Sets `done` when no open beam can come out better than those that are finished.
        """
        length = self.n_codes + 1
        chosen: list[Candidate] = []
        for rank, candidate in enumerate(candidates):
            if candidate.code != self.stop_code:
                chosen.append(candidate)
            elif rank < self.n_beams:  # an ending that is not among the best is not worth keeping
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
            self.done = min(h.score for h in self._finished) >= attainable
        return chosen

    def leader(self) -> list[int]:
        """Codes of the open beam with the best score so far."""
        return self._leader().codes()

    def newly_settled(self) -> list[int]:
        """Codes that are part of the result whatever follows, without those that earlier calls gave: all open
        beams and all finished sequences share them."""
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
        """The winner. Open beams compete too, unless the search ended because they could not win."""
        finished = list(self._finished)
        if not self.done:
            for beam, score in zip(self._beams, self.scores, strict=True):
                self._compete(finished, beam, score, self.n_codes, stopped=False)
        # Of equals the one found last wins, as upstream's stable sort has it.
        winner = max(reversed(finished), key=lambda h: h.score)
        return Hypothesis(winner.score, winner.end.codes(), winner.stopped)

    def _leader(self) -> _Link:
        return self._beams[max(range(self.n_beams), key=lambda b: self.scores[b])]

    def _normalized(self, score: float, length: int) -> float:
        return float(score / length**self.length_penalty)

    def _compete(self, finished: list[_Finished], beam: _Link, score: float, length: int, *, stopped: bool) -> None:
        """Add a sequence to `finished` if it is among the `n_beams` best there."""
        score = self._normalized(score, length)
        if len(finished) < self.n_beams or score > min(h.score for h in finished):
            finished.append(_Finished(score, beam, stopped))
            if len(finished) > self.n_beams:
                finished.remove(min(finished, key=lambda h: h.score))
