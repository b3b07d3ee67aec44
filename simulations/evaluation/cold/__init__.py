"""Categories that a user has never touched: which comes next, and what a private sum of everybody says of it."""
