"""Background, detection and aperture photometry."""
