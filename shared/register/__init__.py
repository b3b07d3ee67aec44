"""What declares a message: kinds of fields and messages, their bounds, and the messages of a secure sum."""
