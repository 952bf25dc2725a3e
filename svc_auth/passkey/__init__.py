"""PasskeyService: sign-in with a key that the user's device keeps (WebAuthn)."""
