"""CategoryService: the tree of categories."""
