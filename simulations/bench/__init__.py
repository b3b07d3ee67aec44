"""`make bench`: how fast, beside what a bare loop, Apple's pfl and Flower's own per-client simulation do on the same work."""
