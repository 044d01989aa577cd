"""What training, ranking and starting cost, beside a plain way of doing the same; see README.md here."""
