"""Streaming: text segments in, chunks of audio out, in time for playback. Schedules are known only here."""
