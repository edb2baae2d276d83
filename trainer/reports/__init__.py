"""The pages of all reports.

page.py        the page
plots.py       the page
svg.py         the page
model_card.py  the model card
"""
