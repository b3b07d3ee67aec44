"""Users and devices that mean ill."""
