"""Sales reports: sums, tables, and a page with charts."""
