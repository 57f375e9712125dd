"""From instrumental to calibrated magnitudes."""
