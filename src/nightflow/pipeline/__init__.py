"""The way of one exposure, step by step, on the ledger; runs with Prefect or without."""
