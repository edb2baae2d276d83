"""What all trainings share.

base_model.py   find and load the model to start from
arguments.py    arguments of the library's trainer
clock.py        progress by steps or by time
checkpoints.py  complete checkpoints
output.py       output directory: refuse, resume, finish
log.py          log.jsonl and progress
settings.py     flags that they share; durations
"""
