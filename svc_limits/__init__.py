"""How many calls of somebody all edges let through together.

Owns the token buckets of the rare and tempting routes, in Redis, where each is full again soon after nobody drains it.
It never sees a call, a token or a password, keeps nothing that would be missed, and nobody waits for it for long: an
edge that hears nothing goes by the buckets in its own memory.
"""
