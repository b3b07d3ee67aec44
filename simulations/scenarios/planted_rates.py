"""BG/NBD parameters of planted people's interests. Made by `python -m simulations.baselines.public_rates`."""

#: (r, alpha, a, b) by the unit of a step and whether activity means purchases alone; alpha is in steps.
PLANTED_RATES: dict[tuple[str, bool], tuple[float, float, float, float]] = {
    ("day", False): (0.77, 6.29, 1.27, 2920.0),
    ("day", True): (0.586, 30.8, 0.0577, 2.1),
    ("week", False): (1.5, 3.49, 1.37, 2980.0),
    ("week", True): (0.746, 7.0, 0.0305, 2.1),
}
