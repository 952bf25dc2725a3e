"""Replays a real shop's invoices through the storefront's own door, and adds up what came out.

It is a client like any other: everything goes through the HTTPS edge with the importer's account. It owns no data and
keeps no state; every call carries a key made of what it says, so that a replay that is repeated changes nothing.
"""
