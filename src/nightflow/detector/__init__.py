"""From raw counts to electrons: one step a file, their order in `nightflow.detector.chain`."""
