"""A BERT from texts: masked words and next sentence.

pretrain.py     a BERT from texts
settings.py     its flags
data.py         who is learned from
tokens.py       texts as ids on disk
examples.py     two segments
batches.py      with holes
model.py        sizes, or a checkpoint
initialise.py   what counting words knows
objective.py    masked words, next sentence
loop.py         steps and the clock
setup.py        on all processes
checkpoint.py   checkpoints
report.py       its report
report_page.py  its report
"""
