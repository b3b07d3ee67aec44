"""The measurements behind published figures."""
