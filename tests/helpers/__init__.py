"""What several tests share: small checkpoints, packs and networks, a fake hub, paths of the test data."""
