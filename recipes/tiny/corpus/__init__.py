"""What the stages are trained on: recordings, texts, phones, pitch, excerpts."""
