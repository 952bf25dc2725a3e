"""The proof: shoppers, faults, and a checker that believes nobody. `python -m tests.faults.proof --help` runs it.

`proof` starts a mesh of its own, lets `shoppers` buy and writes what they saw into a `journal`, injects `faults` from a
seed, waits until the mesh rests, and hands a folder of files to `check`: a process of its own that reads the journal,
the provider's log, what a Kafka consumer kept (`consumer`) and the databases, through a role that can only read
(`evidence`), and judges them by `invariants` and `linearizability`.
"""
