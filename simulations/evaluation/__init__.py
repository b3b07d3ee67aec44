"""From a run folder to its results: quality of p, lapses and take-offs, alerts against what really happened."""
