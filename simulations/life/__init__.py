"""Steps of hosted devices, closed one after the other: what features are made of moves along, instead of being counted again."""
