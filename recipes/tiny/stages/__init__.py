"""Training, stage by stage, and what makes a pack of it."""
