"""The session in its store: layout, archive of calls, snapshots, progress."""
