"""A model pack: manifest, dimensions of the networks, strict loading."""
