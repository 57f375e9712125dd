"""From raw counts to clean electrons: one step a file."""
