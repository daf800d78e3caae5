"""Voices: enrollment and adaptation, storage, lookup, emotions."""
