"""Notifications: what a shopper is told, through which channel, and whether it arrived there.

Owns the messages, one row for each, and the channels that carry them. A row is the queue: an event becomes a row in the
transaction that notes the event, and a worker sends rows until each is taken or refused for good. It keeps no address
in clear, decides nothing about orders, and is called by no other package.
"""
