"""The work that providers still owe an answer to: stored, leased, and run again until it is settled."""
