"""The daily settlement: a provider's own log against the ledger, movement by movement. It moves no money."""
