"""What happened in a session and in a project: events on disk as they come, chained line by line."""
