"""What the server does to learn heads of lapses and take-offs: its settings, the whitening of their rounds, and each part's learner."""

#: What the checkpoints of the parts that learn heads are called.
CROWD, CURVATURE, HEADS = "crowd", "curvature", "heads"
