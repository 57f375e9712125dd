"""Prefect tasks: one observable, retried unit each."""
