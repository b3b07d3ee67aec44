"""What lies on the device, sealed: the store and its tables, keys, journal, outbox, consent; and how all of it ends."""
