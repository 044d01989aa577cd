"""Training objectives: cross-entropy over all items, and losses over sampled items."""
