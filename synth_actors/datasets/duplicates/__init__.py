"""Was a row there before?"""
