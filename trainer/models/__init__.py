"""Model artifacts: publish, export, use.

base.py       publish an untouched model
load.py       sentence-transformers directory → model, in one form
artifact.py   sentence-transformers → model artifact
onnx.py       export to ONNX, and the parity check
masked_lm.py  publish a masked-language model
reranker.py   publish a cross-encoder
sparse.py     publish a learned-sparse model
embed.py      texts → file of vectors, nearest neighbours
fill_mask.py  fill masks on the command line
settings.py   flags
"""
