"""From scores to alerts: detectors, false-alarm budget, bursts, levels of risk, reasons and policy."""
