"""The offline pass: published checkpoints become model packs."""
