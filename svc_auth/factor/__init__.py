"""SecondFactorService: codes by time, and recovery codes."""
