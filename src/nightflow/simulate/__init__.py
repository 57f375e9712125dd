"""An observatory simulator with a physics of its own, for the demo, the tests and the benchmarks."""
