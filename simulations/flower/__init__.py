"""An app that Flower's users run: `flwr run simulations/flower`, in a checkout whose environment is active."""
