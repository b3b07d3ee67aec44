"""From results to what people look at: the page, the table, the drawings, docs/figures.json."""
