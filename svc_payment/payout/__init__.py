"""PayoutService: what sellers are owed, set aside for a bank to send, and booked when it was sent."""
