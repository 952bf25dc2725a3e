"""Tests of the bench: its arithmetic, its loads and its pictures, without a mesh."""
