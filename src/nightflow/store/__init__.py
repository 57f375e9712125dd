"""The ledger and the light-curve store."""
