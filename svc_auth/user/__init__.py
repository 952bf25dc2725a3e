"""UserService: users, their profile, and the addresses they keep."""
