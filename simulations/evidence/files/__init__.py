"""Files that other people's tools read, made of what a run left, of one document of answers, and of what is installed."""
