"""Drops what is derived from journals and makes it again: orders, stock and wallets of a running mesh.

Each package owns how its journal is folded; this one knows which there are, runs them beside the mesh, and tells.
"""
