"""What leaves a session's folder: the replication package, what is withheld of it, and what is erased on request."""
