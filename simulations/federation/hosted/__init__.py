"""What a host keeps of its devices between two messages, and what it adds up of heads."""
