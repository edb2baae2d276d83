"""`trainer run`: corpus → tuned model with a verdict.

results/           base against tuned model: comparison, relevance, report
run.py             up to date? train, then go live on a WIN
stages.py          stages of a run, in order
inputs.py          settings, labels and corpus, checked before a model is needed
plan.py            steps and time estimates before the start
workspace.py       folder of a run; finished stages are reused
dataset.py         training, dev and test queries of a run
tuning.py          which rungs are tried and kept
modes.py           whose vectors hybrid search has
layers.py          fine-tune the encoder's layers on labels
query_encoder.py   fit a small encoder for queries
compare_models.py  `trainer evaluate`
rerank/            `trainer reranker --judge`
bases/             `trainer compare`: which model is the best base; `trainer bridge`
settings.py        flags
"""
