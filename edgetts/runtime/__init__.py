"""Devices, caches, the decode loop and the ODE solver: how the networks are run."""
