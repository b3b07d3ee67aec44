"""The secure sum: what devices, seats, helpers and the server must agree on, so that a sum is all that anybody opens."""
