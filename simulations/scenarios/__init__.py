"""What a run is made of, as files that people write; and what the owners of simulated devices decide."""
