"""What hosted devices do in a training round, as machine code where numba is installed: rows drawn, fitted, clipped, noised."""
