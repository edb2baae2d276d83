"""The trainer: fine-tunes an encoder on a corpus and measures whether it is better.

pipeline/  `trainer run`: corpus → tuned model with a verdict
classify/  Text classifiers: train, calibrate, publish, predict
pretrain/  Pre-train a BERT: masked words and next sentence
adapter/   A linear map behind a frozen encoder
reports/   HTML pages of reports
finetune/  Fine-tuning of sentence encoders
queries/   Queries for documents without labels
mining/    Query filtering and hard negatives
evaluate/  Evaluation: rankings, metrics, significance, verdict
training/  What tsdae, finetune and classify share
data/      Training data: labels, splits, frames, pairs
models/    Model artifacts: publish, export, use
cli.py     commands of `python -m trainer`
files.py   files written whole or not at all
"""
