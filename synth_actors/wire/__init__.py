"""Which bytes go to a server, and what do its bytes mean?  Protocol apart from I/O."""
