"""From a string to token ids: normalise, tokenise, segment."""
