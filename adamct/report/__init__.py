"""Tables, figures, tests and a page from the folders of finished runs: ``python -m adamct.report DIR...``."""
