"""Sums that are asked for besides training, and what they say."""
