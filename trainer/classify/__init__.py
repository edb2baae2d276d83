"""Labelled texts to a classifier.

train.py              texts → a classifier
settings.py           its flags
data.py               read, checked, divided
cli.py                its commands
classify_rows.py      one table of any file
classify_start.py     what is fine-tuned
classify_learn.py     the two ways
base.py               where they start
head.py               heads
classify_probe.py     heads
finetune.py           all weights
classify_batches.py   of similar lengths
calibration.py        what 0.9 means
export.py             one graph
publish.py            the artifact
predict.py            a file of texts
classify_evaluate.py  a file of labels
metrics.py            macro-F1 and its doubt
report.py             classify report
classify_page.py      classify page
report_page.py        classify plots
"""
