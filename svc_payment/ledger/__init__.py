"""The double-entry ledger: every movement of money, append-only, with balances that it adds up to."""
