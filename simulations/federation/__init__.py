"""Carrying a run out: Flower's runtime, one node per device or hosts of many, and the run's folder."""
