"""What does each figure of a snapshot say about what holds the engine back?"""
