"""The result of a check: one line for people, one object for programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """note: something is absent, or good to know; no failure."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """name: of the check. text: what was found. remedy: what to do about it, if something should be done."""

    name: str
    state: State
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """All of it on one line."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.state.value:<8}{self.name:<12}{self.text}{remedy}"


def ok(name: str, text: str) -> Finding:
    return Finding(name, State.OK, text)


def note(name: str, text: str, remedy: str = "") -> Finding:
    return Finding(name, State.NOTE, text, remedy)


def broken(name: str, text: str, remedy: str = "") -> Finding:
    return Finding(name, State.BROKEN, text, remedy)
