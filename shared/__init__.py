"""Words and maths that devices and the coordinator must agree on. Imports numpy, cbor2 and the standard library only."""
