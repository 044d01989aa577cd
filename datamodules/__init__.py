"""From a log of interactions to the batches a model sees: reading, k-core, leave-one-out, batching."""
