"""What differences between runs are worth: intervals and tests, and what a representation is like."""
