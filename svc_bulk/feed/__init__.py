"""Feeds: which may be fetched, how, and what each answered last."""
