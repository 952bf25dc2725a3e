"""ProductService: products with their variants."""
