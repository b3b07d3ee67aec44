"""A run that is spread over the nodes of a Ray cluster."""
