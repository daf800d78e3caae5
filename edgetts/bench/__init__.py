"""Measuring a pack on this machine: stage by stage, beside the floor that the machine's own rates set."""
