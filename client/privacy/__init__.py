"""What may be spent: the owner's caps, the ledger under them, the randomised bit, and whose requests count."""
