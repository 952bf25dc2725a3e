"""The payment domain: payments of orders, wallets, refunds, and the double-entry ledger under all of them.

It owns what was asked of whom, what a provider answered, and every movement of money. It never decides whether an order
lives (svc_order does), never calls a provider inside a transaction, and keeps a card token only until the authorization
that needs it is settled.
"""
