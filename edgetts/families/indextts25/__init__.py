"""IndexTTS-2.5."""
