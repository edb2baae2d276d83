"""A BERT from texts: masked words and next sentence.

pretrain.py        a BERT from texts
settings.py        its flags
data.py            who is learned from
tokens.py          texts as ids on disk
examples.py        two segments
batches.py         with holes
masking.py         which positions
wordpiece.py       a tokenizer that is learned
model.py           sizes, or a checkpoint
initialise.py      what counting words knows
cooccurrence.py    what counting words knows
objective.py       masked words, next sentence
loop.py            steps and the clock
setup.py           on all processes
checkpoint.py      checkpoints
pretrain_watch.py  on documents that were held out
prefetch.py        the next batch meanwhile
report.py          its report
report_page.py     its report
peak.py            shares of a GPU
"""
