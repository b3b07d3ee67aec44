"""Rules and models that the reader of a run brought along: as functions, as code in files, as what they say."""
