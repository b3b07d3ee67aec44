"""The answers, one file for each group of requirements: each a function from a case to its tables."""
