"""Training and testing a model with PyTorch Lightning."""
