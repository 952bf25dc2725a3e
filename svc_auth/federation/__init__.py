"""FederationService: sign-in with an identity at an OpenID Connect provider, any that the configuration names."""
