"""Tests of the pages that are made of evidence."""
