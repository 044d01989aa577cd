"""What a report writes: tables, figures, the page and the other files."""
