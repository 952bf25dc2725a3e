"""Figures: one script per question, each printing its method beside its figures."""
