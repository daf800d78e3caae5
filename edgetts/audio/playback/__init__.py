"""Speech that is heard while it is computed: `Sink`, its PortAudio device, and its simulation."""
