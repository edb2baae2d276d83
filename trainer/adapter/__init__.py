"""A linear map behind a frozen encoder.

ladder.py        rungs that dev has to approve
linear_map.py    whitening and the learned map
distillation.py  what it learns from
dense_module.py  the map as a module
"""
