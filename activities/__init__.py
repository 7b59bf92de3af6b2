"""One module per kind of step, each thin: unpack, call the core, pack."""
