"""The split of orders between sellers: escrow until the parcel has arrived, then the fee and what each is owed."""
