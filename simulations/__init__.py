"""The whole system on one machine: populations, scenarios, runs, metrics and reports."""
