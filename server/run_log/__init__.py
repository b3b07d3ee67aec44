"""What a server did, in an order that it cannot change afterwards: a log that anybody can check, and devices witness."""
