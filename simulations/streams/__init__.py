"""Detectors on made-up streams of p: delay against false alerts, and thresholds from them."""
