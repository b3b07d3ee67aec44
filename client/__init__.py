"""The device: records behaviour, scores and detects on its own, and lets nothing out but through `gate`."""
