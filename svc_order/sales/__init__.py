"""SalesService: what was sold, for reports."""
