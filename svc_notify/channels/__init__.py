"""The ways out: what carries a message to a person. A channel knows how to send, never what or why."""
