"""A saved workspace of Weights & Biases for the runs of a project. Needs the extra [wandb]."""
