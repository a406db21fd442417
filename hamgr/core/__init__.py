"""The decision engine: pure functions of events and given time, and nothing else."""
