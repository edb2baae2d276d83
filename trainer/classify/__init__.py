"""Text classifiers: train, calibrate, publish, predict.

cli.py          commands of `trainer classify`
train.py        the two ways: fine-tuning, or a head on a frozen encoder
data.py         labelled texts, checked and split
base.py         model that training starts from
head.py         logistic head; linear probe
finetune.py     all weights, batches of similar length
calibration.py  temperature, Platt scaling, thresholds
metrics.py      macro-F1 with intervals
export.py       ONNX graph
publish.py      artifact
tokens.py       token classifier for `indexer build --extract`
predict.py      label a file; evaluate on a file
report.py       what report.json holds
report_page.py  plots and report.html
settings.py     flags
"""
