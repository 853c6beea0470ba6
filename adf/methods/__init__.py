"""Other approaches to doubt, on the same layers: one file per method."""
