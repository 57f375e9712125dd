"""Reference catalogues kept on this machine."""
