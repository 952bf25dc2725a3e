"""PriceService: what things cost, and when; of each minute the latest."""
