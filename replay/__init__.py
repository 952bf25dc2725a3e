"""Replays a real shop's file through the storefront's own door, to the penny, and says what became of every line.

It is a client like any other: everything goes through the HTTPS edge with the importer's account, and every call
carries a key made of what it says, so that a replay that is repeated changes nothing. `deliveries` and the package
`bookkeeping` are the rules, which know no shop; `edge`, `importer`, `journal` and `walk` ask it.
"""
