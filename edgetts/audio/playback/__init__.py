"""Playback during synthesis: `Sink`, the PortAudio sink and a simulated one."""
