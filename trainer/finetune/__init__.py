"""Fine-tuning of sentence encoders.

finetune.py  fine-tune on examples
tsdae.py     denoising auto-encoder on texts alone
losses.py    fourteen losses by name
grouped.py   MNR over distinct passages of a batch
divided.py   batches divided among processes
together.py  trainings within a run that one process leads
fit.py       training loop of both
examples.py  columns of training examples
dev.py       dev metric
settings.py  flags
"""
