"""SearchService: full-text search over the products."""
