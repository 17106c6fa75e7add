"""How do rows become files?"""
