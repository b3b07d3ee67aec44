"""Between a command and whoever typed it: what is printed, how a command ends, and how it is stopped."""
