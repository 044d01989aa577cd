"""From a log of interactions to the batches of a model: reading, k-core, split, negatives, batching."""
