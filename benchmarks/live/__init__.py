"""The live service under a real Prefect server: from a closed file to its rows in the store."""
