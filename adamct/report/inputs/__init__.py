"""The inputs of a report: the folders of runs and sweeps, and the figures of the paper."""
