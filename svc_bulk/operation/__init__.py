"""OperationService, the queue of operations, and the worker that takes from it."""
