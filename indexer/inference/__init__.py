"""ONNX models without torch.

passages.py    texts split at sentences
encoder.py     text → vector
reranker.py    query and passage read together
masked_lm.py   a masked-language model asked
classifier.py  text → labels
session.py     ONNX Runtime sessions, tokenizers and padded batches: what all models
"""
