"""What operations do: one module a kind of work."""
