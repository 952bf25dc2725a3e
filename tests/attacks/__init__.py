"""Attacks on a whole mesh: numbered cases with exact answers, and the access matrix, drawn from the contract.

`python -m tests.attacks` starts a mesh of its own, attacks it while a well-behaved client shops alongside, and prints
one table. A case says what a stranger tries and the answer that is due, to the reason; beside the answer, no row of any
database may have changed but those that the case names.

It owns no rule of the mesh: what is due comes from the contract, the topology and the issue's list, never from what the
mesh happened to answer.
"""
