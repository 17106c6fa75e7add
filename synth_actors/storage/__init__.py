"""What is written down, in SQLite; nothing here knows an actor, a request or a price."""
