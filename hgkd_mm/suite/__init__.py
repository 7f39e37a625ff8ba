"""Benchmark suites: a file that lists the runs, expanded into jobs that Snakemake carries out."""
