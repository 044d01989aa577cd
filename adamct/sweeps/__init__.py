"""Multirun sweeps: their folders, reports and exit codes."""
