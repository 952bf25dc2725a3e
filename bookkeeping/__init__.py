"""A shop's file and its books: how a line is read, what it stands for, which orders and returns lines make, and what
all of them come to beside what the shop says of them.

Pure: it knows no shop, no wire and no database. `replay` plays what it makes of a file into a mesh, and the bulk worker
holds a file against the orders that are there; both close the same books by the same rules.
"""
