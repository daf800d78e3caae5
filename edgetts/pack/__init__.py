"""The published layers: configuration, manifest and strict loading of a model pack."""
