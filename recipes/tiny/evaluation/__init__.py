"""Evaluation of packs: words, voices, sound, prosody, streams, speed, solvers, dtypes."""
