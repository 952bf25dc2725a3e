"""Tests of what the questions stand on."""
