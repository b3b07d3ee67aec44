"""A round as a secure sum, from the server's side: the list that its keys are from, the sum itself, and the round that is open."""
