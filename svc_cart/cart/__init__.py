"""CartService: the live carts."""
