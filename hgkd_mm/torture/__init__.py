"""Runs that are killed, starved and fed with rubbish, to see that nothing is lost: `make torture`."""
