"""PrivacyService: what Titan holds about a user, in their hands, and gone where they wish."""
