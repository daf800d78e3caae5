"""From a string to token ids: normalize, tokenize, segment."""
