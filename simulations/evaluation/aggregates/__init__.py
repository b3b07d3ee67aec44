"""What the server learned besides models, and what it takes for honest: beside the truth, which only a simulation knows."""
