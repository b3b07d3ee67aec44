"""What runs of a thousand to a million devices take, measured on this machine; see docs/capacity.md."""
