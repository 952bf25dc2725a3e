"""The embedded servers: Postgres, Valkey, a Kafka-protocol broker and a mailbox, for development and tests.

Each comes as a wheel and needs neither root nor Docker. In production each is a URL in the settings.
"""
