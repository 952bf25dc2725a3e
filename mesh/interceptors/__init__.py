"""What happens to every call before and after its handler, one stage a file, put in order by `chain`.

From the outside in: refusals, telemetry, admission, deadline, identity, audit, access, validation, cards. Refusals are
outermost, so that the "no" of every stage becomes a status in one place.
"""
