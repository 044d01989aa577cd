"""The outputs of a report: tables, figures, the page and the other files."""
