"""The demo: a simulated night, live."""
