"""Which rows stand in an answer?"""
