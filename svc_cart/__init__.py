"""What shoppers mean to buy.

Owns the live carts: in Redis while they change, in Postgres within a second. It never knows a price of its own, holds
no stock, and never decides an order.
"""
