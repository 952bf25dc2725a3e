"""Known defects, and whether the proof finds them: a proof that finds nothing wrong is worth what it would have found.

`python -m tests.faults.planted` plants one defect after the other and runs the cheapest part of the proof that is meant
to find it; `--only NAME ...` plants some, `--list` says which there are. The product carries nothing of this: a
defect replaces functions of a process while it imports them, because the harness has put `site/sitecustomize.py` in its
way and named the defect in `TITAN_PLANTED`.
"""
