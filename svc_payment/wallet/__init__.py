"""Wallets of users: balances, top-ups by card, credits by an importer."""
