"""Watch folders, wait until files are complete, write ledger rows and nothing else."""
