"""Many trainings of one scenario: tuning, sweeps, the choice of a detector, noise for an epsilon."""
