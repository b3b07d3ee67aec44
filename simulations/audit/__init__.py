"""Whether what a run released keeps the epsilon that is stated: attacks with bounds that hold."""
