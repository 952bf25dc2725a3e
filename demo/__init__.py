"""One shopper's walk through a running mesh, over HTTPS, from registration to receipt.

It is a client like any other and knows nothing but `endpoints.json`. It stops at the first answer that is not what a
shopper would expect, and says so.
"""
