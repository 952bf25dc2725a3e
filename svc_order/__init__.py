"""Orders: the way from a cart to an order, and everything that happens to an order afterwards.

Owns the journal of every order, the checkout saga that moves stock and money for it, and the decisions on it. Never
holds stock, money or carts itself: those are participants, asked by order id. Never decides twice: the order row is the
arbiter, and a late decision is refused.
"""
