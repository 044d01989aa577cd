"""The sections of the page: each module makes the tables and figures of one."""
