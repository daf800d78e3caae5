"""Algorithms: codes from the GPT (sampling, beam search, guards), the latent pass and the ODE solver."""
