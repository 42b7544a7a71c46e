"""Policies: what acts, and how it is saved."""
