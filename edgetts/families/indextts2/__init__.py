"""IndexTTS-2."""
