"""Payment providers outside Titan, each an adapter behind ``interface.Provider``, keyed by payment id.

An adapter moves no money of Titan, stores nothing and decides nothing; it is never called inside a
database transaction.
"""
