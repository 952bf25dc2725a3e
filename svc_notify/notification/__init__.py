"""NotificationService, the consumer that writes the messages, and the worker that sends them."""
