"""Files that other people's tools read, made of what a run left and of what is installed."""
