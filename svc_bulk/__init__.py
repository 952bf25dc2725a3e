"""Long jobs: imports, exports, mass changes, reports and feeds, as operations that are started, watched and stopped.

Owns the queue of operations and the files that they read and write. A row of the queue is the job, its lease and its
place in the file, so any process may take it up where another left it. It changes products, stock and orders through
their services alone, a few rows at a time, and nothing that a shopper waits for ever waits for it.
"""
