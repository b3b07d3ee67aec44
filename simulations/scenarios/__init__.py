"""What is asked for: scenario files and their form, owners' caps and consents, grids, users held out."""
