"""Labelled texts to a classifier.

train.py        texts → a classifier
settings.py     its flags
data.py         read, checked, divided
cli.py          its commands
base.py         where they start
head.py         heads
finetune.py     all weights
calibration.py  what 0.9 means
export.py       one graph
publish.py      the artifact
predict.py      a file of texts
metrics.py      macro-F1 and its doubt
report.py       classify report
report_page.py  classify plots
"""
