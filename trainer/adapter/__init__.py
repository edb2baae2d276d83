"""A linear map behind a frozen encoder.

ladder.py        steps of training, each kept only if dev agrees
linear_map.py    whitening, and the map learned by gradient descent
ridge.py         an affine map between the vectors of two encoders, in closed form
distillation.py  training data of the map: fused ranking or labels
teacher.py       a cross-encoder as teacher
dense_module.py  the map as a sentence-transformers Dense module
"""
