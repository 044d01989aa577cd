"""AdaMCT (CIKM '23) and its baselines: models, objectives, metrics and the LightningModule that joins them."""
