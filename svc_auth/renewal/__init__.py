"""What a key that goes has made, made anew with the one that comes: sealed columns, and what users are found by."""
