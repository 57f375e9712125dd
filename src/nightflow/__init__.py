"""nightflow: from raw frames to calibrated light curves while the night is still running."""

__version__ = "0.1.0"
