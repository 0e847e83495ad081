"""One module for each command: its arguments, its options and its help; the work is done elsewhere."""
