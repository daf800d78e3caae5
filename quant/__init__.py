"""The offline pass: from published checkpoints to model packs."""
