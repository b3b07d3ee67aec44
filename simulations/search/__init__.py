"""Many trainings of one scenario: tuning, sweeps, and the choice of a detector."""
