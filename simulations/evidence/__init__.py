"""Evidence that a reviewer can check without trusting who made it."""
