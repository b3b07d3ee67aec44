"""What a run takes: said before it begins, and measured while it goes on."""
