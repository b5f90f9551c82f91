"""Culvert and the programs of other projects."""
