"""What differences between runs are worth: intervals and tests."""
