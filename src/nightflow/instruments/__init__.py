"""Camera profiles and header normalisation."""
