"""The dashboard: one read-only page of what goes on, by the standard library alone."""
