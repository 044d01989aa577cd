"""Trained models for the Hugging Face Hub: folders of weights, config and model card, and their way there and back."""
