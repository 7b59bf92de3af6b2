"""The steps of a session, given the session: what each activity does, free of Temporal."""
