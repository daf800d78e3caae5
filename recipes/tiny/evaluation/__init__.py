"""Evaluation of any pack: words, speakers, streams, solvers, dtypes."""
