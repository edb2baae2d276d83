"""The pages of all reports.

page.py        the page
plots.py       the page
svg.py         the page
model_card.py  the model card
run_page.py    Report page of a training run: `report.html` and `report.json`
"""
