"""A run's server, devices and hosts, and the folder in which they meet."""
