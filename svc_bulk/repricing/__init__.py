"""Repricing: prices by a rule."""
