"""The figures that the docs quote: `python -m simulations.published` makes them."""
