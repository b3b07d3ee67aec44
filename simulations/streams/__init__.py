"""Detectors on simulated daily streams: how fast a shift is seen, and the CUSUM's thresholds."""
