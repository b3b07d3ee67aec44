"""A helper: a server of another organisation that holds a seat in every sum. Its own process, key and store."""
