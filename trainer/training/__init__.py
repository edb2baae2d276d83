"""What every training shares.

arguments.py    what the library is told
base_model.py   the model to start from
output.py       the directory that is written
clock.py        steps or time
checkpoints.py  complete ones
log.py          log.jsonl
settings.py     files whole or not at all
"""
