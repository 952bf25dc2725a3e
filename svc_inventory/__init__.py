"""Inventory: how much of each SKU every warehouse has, and what orders hold of it.

Owns the stock, its append-only journal, the reservations of orders and the warehouses. It answers by order id, and the
same way each time it is asked. It knows nothing of prices, products or payments, and never calls another package.
"""
