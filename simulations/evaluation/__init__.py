"""What a run was worth: p and alerts beside baselines, on the same rows."""
