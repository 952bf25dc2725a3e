"""The checkout saga: quote, record, reserve, authorize, decide, close, capture."""
