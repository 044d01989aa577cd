"""The sections of the page. Each module makes the tables and figures of one section."""
