"""What shoppers read: a letter is written once, as content, and printed as plain text and as HTML.

Pure: no clock, no network, no database, and no wire types.
"""
