"""Master calibrations: combine, keep, choose, explain."""
