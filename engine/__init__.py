"""How the application meets Temporal: connection, embedded server, workers, and what to do after a crash."""
