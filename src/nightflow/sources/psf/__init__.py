"""Photometry of crowded fields by the point-spread function of the frame itself."""
