"""Users, their credentials and sessions, and the keys that sign access tokens.

Owns who somebody is and for how long a sign-in counts. It never decides what a caller may do in another domain, and it
never writes personal data into a log or an event.
"""
