"""How good are the rows?"""
