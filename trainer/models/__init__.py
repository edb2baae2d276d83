"""Model artifacts and what they answer.

base.py       publish an untouched model
artifact.py   files, ONNX, proof
onnx.py       sentence-transformers → ONNX
masked_lm.py  a masked-language model's artifact
reranker.py   a cross-encoder's artifact
fill_mask.py  the hidden word
embed.py      texts → a file of vectors
settings.py   The settings of `python -m trainer publish-mlm` and `fill-mask`, the c
"""
