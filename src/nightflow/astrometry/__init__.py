"""The solver ladder, its backends and the verification of what they find."""
