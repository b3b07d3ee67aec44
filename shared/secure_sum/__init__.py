"""The sum of many devices' vectors, of which nobody sees one: fields, shares, corrections, tests and sizes."""
