"""A run shown to a reviewer in ten minutes: `make review`, docs/review.md."""
