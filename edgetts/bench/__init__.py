"""Benchmarks of a pack on this machine: each stage against the machine's roofline."""
