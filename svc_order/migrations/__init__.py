"""The history of the order database."""
