"""Choosing a line: what warnings at it are expected to come to, what they came to, and what is written into the scenario."""
