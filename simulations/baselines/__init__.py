"""What ours is compared with: pooled models, rules on counters, BG/NBD."""
