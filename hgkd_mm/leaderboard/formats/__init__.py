"""One file a format: each turns tables into text."""
