"""Fine-tune an encoder.

tsdae.py          from texts alone
noise.py          words deleted
finetune.py       from examples
examples.py       their columns
losses.py         by name
teacher_scale.py  scores of any teacher
grouped.py        a passage once in a batch
fit.py            the loop of both
dev.py            one number, bigger is better
"""
