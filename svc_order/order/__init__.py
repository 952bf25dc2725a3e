"""Orders that were placed: their rules, their journal, their RPCs."""
