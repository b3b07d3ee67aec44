"""Files for other programs, made of one document: the registry's record, answers for assessment tools."""
