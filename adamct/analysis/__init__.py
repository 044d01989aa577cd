"""Analyses of a trained AdaMCT."""
