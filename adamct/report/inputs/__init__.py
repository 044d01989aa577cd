"""What a report reads: the folders of runs and sweeps, and the figures of the paper."""
