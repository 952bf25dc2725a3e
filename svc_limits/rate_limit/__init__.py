"""RateLimitService: the buckets that all edges drain together."""
