"""What hostile behaviour does to scores and alerts."""
