"""Pages made of evidence: for reviewers, and for the people whose devices took part, in English and in Chinese."""
