"""Fine-tune an encoder.

tsdae.py     from texts alone
finetune.py  from examples
examples.py  their columns
losses.py    by name
grouped.py   a passage once in a batch
fit.py       the loop of both
dev.py       one number, bigger is better
settings.py  Settings of `trainer tsdae` and `trainer finetune`
"""
