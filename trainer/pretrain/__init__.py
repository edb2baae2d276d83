"""Pre-train a BERT: masked words and next sentence.

pretrain.py     the command: prepare, train, report
data.py         corpus split by document, tokenizer, token ids
tokens.py       WordPiece tokenizer; texts as token ids on disk
examples.py     segment pairs
batches.py      masking, collation, prefetching
model.py        a new BERT, or one from a checkpoint
initialise.py   embeddings from co-occurrence counts
objective.py    MLM and NSP losses; held-out figures
loop.py         training loop
setup.py        everything the loop needs, on all processes
checkpoint.py   save and resume
report.py       what report.json holds; floating-point operations
report_page.py  plots and report.html
settings.py     flags
"""
