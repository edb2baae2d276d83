"""`trainer run`: from a corpus to a verdict.

run.py             is there anything to do? what goes live?
stages.py          from questions to an artifact
plan.py            said before it starts
workspace.py       what a run has finished
dataset.py         what a run learns from and asks
tuning.py          which are climbed
layers.py          the dearest rung
exam.py            the exam
compare_models.py  without learning
summary.py         all into one report
settings.py        Settings of `trainer run` and `trainer evaluate`
"""
