"""What a simulated run adds to its server so that rounds are sums: helpers, and somebody who signs the list of devices."""
