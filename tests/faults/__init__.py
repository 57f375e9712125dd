"""Faults of a night: real processes, and the light curves of the undisturbed night."""
