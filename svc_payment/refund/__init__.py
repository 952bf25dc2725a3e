"""Refunds: money of an order on its way back, never more than was captured."""
