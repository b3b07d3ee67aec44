"""The measurements behind published numbers."""
