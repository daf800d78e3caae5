"""Plans the text of a request as segments.

In: a front end, the options of the call, the text. Out: a `TextPlan` of a whole text, or of each part of a
text that arrives in pieces.
"""

from __future__ import annotations

from functools import partial

from edgetts.errors import UsageError
from edgetts.options import AUTO_LANGUAGE, SynthesisOptions
from edgetts.text.config import Language
from edgetts.text.frontend import TextFrontend, TextPlan


class SegmentPlanner:
    """The front end with the settings of one request. markup, markdown: as of `SpeechRequest`."""

    def __init__(
        self, frontend: TextFrontend, options: SynthesisOptions, *, in_parts: bool, markup: bool, markdown: bool
    ) -> None:
        """in_parts: whether segments are rendered in several chunks."""
        self._segments = partial(
            frontend.segments,
            max_tokens=options.max_segment_tokens,
            markup=markup,
            language=_language(frontend, options.language),
        )
        self._markdown = markdown
        # Beam search outputs its codes at the end of a segment, so the first segments of a stream must be short.
        self._quick_tokens = options.max_segment_tokens if options.n_beams > 1 and in_parts else 0

    def whole(self, text: str) -> TextPlan:
        """The plan of a whole text. Raises UsageError if there is nothing to speak."""
        plan = self._segments(text, quick_tokens=self._quick_tokens, markdown=self._markdown)
        if not plan.segments:
            raise UsageError("There is nothing to speak in the text: " + (" ".join(plan.notices) or "it is empty."))
        return plan

    def part(self, text: str, previous: Language | None) -> TextPlan:
        """The plan of a part of a text, already without Markdown. previous: the language before it."""
        return self._segments(text, previous=previous)


def _language(frontend: TextFrontend, asked: str | None) -> Language | None:
    """The language of all of a text; None: found for each sentence. Raises UsageError for one that is not spoken."""
    return None if asked in (None, AUTO_LANGUAGE) else spoken_language(frontend, asked)


def spoken_language(frontend: TextFrontend, asked: str, voice: str | None = None) -> Language:
    """The language `asked`. Raises UsageError if the model does not speak it. voice: name of the voice that is set to
    it, if it is not the caller who asks."""
    spoken = next((language for language in frontend.languages if language == asked), None)
    if spoken is None:
        these = ", ".join(frontend.languages)
        if voice is not None:
            raise UsageError(
                f"Voice {voice or '(unnamed)'} is set to the language {asked!r}, and this model speaks {these}: "
                "give another one with language=."
            )
        raise UsageError(f"language is {asked!r}; this model speaks {these}.")
    return spoken
