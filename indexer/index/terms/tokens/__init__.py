"""Words as they are written, cut into the pieces that become terms.

pieces.py      pieces of a written word, with their places
characters.py  characters that are one spelling, or none
"""
