"""Voices: learned from recordings (enrollment, adaptation), stored, looked up; and emotions."""
