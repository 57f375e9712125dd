"""Is everything here that a night needs? Each check says what it found and the mend."""
