"""Side-by-side measurements of speed and memory; ``tools/speed.py`` is their command line."""
