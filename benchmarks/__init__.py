"""Measurements against peers, and against the loop that a person would write by hand; each is a command."""
