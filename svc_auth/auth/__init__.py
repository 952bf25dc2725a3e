"""AuthService: sessions, their tokens, and the keys that sign them."""
