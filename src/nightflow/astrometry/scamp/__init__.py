"""SCAMP (Bertin 2006, ASP Conf. 351, 112): chips of a mosaic, or frames of a field, solved together."""
