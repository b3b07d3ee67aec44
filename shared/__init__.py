"""Words and maths that devices and the coordinator must agree on. Imports numpy and the standard library only."""
