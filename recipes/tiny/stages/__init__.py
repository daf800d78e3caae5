"""Training stages, one network per file, and the export of the trained networks as a pack."""
