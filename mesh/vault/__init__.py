"""Personal data at rest: sealed with a key of its user, which a master key wraps.

`vault` seals and opens, `master_keys` is where the master keys are (a file here, a KMS where there is one), `store` has
the SQL of the two tables that `mesh.schema.create_vault` makes. Who destroys a user's key has erased what was sealed
with it, in every table, journal and backup of the database that is made from then on.
"""
