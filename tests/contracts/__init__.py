"""Tests over the whole contract: what the descriptors say, and what each caller relies on."""
