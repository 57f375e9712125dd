"""Association of detections to sources, ensembles, times."""
