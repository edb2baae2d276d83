"""HTML pages of reports.

page.py        one page without script or network
run_page.py    page of a training run
plots.py       plots of a training run
svg.py         matplotlib → accessible SVG
model_card.py  README.md of a tuned model
"""
