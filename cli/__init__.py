"""The command line's parts: one module per group of commands, and what they print."""
