"""Training of the built-in tiny pack, stage by stage: `python -m recipes.tiny --help`."""
