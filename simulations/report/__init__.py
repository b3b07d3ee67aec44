"""A run's results for people: a report, drawings, a summary."""
