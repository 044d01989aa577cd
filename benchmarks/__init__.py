"""Measurements of training, ranking and starting, beside a plain way of doing the same; see README.md here."""
