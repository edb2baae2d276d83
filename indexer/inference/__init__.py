"""ONNX models without torch.

passages.py    texts split at sentences
encoder.py     text → vector
reranker.py    query and passage read together
masked_lm.py   a masked-language model asked
reading.py     what it says of a text
classifier.py  text → labels
"""
