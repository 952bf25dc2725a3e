"""Puts: products and prices as long jobs write them, many at a time, found by their SKUs."""
