"""Payments of orders: authorize, capture, void, and what providers report about them."""
