"""Invoices: what each seller has delivered of an order, numbered without a gap."""
