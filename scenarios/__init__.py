"""Which world, which day: the only place for files, wall clock, seeds and network."""
