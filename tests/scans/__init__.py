"""Programs that others have made to find holes, run against a mesh of its own and against the source.

`make scan` starts each, reads its report, and prints one table. A scanner that examined nothing counts as failed: every
report says how much was looked at, and each scanner has a least. What was found and is all right is named in
`accepted.toml` with the reason, one by one; anything else fails, and so does a reason for what is not found any more.

It owns no program: they come from `requirements-scan.lock` and from Debian, and nothing of Titan imports them.
"""
