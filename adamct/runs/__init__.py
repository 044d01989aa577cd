"""One run: its folder, its processes, its checked config."""
