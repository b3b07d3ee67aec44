"""Whose behaviour it is: planted people, the real data sets, labelled rows, and the public start."""
