"""Training data: recordings, texts, phones, pitch, excerpts."""
