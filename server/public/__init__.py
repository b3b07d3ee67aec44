"""What public (planted) people teach a server before and after its rounds, at no epsilon."""
