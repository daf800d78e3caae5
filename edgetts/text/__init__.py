"""The text front end: normalize, tokenize, segment."""
