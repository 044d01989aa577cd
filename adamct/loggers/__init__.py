"""Loggers of runs: additions to those of Lightning, which a config names below ``logger``."""
