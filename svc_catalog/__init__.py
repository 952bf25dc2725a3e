"""Catalogue: what the shop sells, at which price, and on which shelves it stands.

Owns products with their variants, the tree of categories and the search over them. A price here is what a quote starts
from; what an order was sold at is the order's own. It knows nothing of stock, and never calls another package.
"""
