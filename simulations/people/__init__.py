"""The people of a scenario, planted or from a data set, and the scenario resolved against them."""
