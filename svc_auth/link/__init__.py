"""LinkService: one-time links by e-mail."""
