"""What a run costs its devices in epsilon."""
