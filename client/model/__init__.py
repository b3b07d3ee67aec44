"""The model on the device: the pinned network, scores, training rows, local training and what leaves of it."""
