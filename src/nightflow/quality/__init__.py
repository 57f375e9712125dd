"""Measures of a frame."""
