"""A log of events that its reader brought along: what is in it, its rhythm, its people."""
