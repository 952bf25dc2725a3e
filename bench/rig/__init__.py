"""What the questions of the bench stand on: a mesh of their own, load, statistics, results, pictures."""
