"""The audit of a session: what a peer reviewer would look for, looked at, with a verdict for each check."""
