"""Text segments become chunks of sound on time: the only place that knows schedules."""
