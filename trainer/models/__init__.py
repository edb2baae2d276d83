"""Model artifacts and what they answer.

base.py               publish an untouched model
artifact.py           files, ONNX, proof
onnx.py               sentence-transformers → ONNX
parity.py             the same vectors?
masked_lm.py          a masked-language model's artifact
reader_export.py      its graph
reranker.py           a cross-encoder's artifact
settings_reranker.py  its flags
fill_mask.py          the hidden word
settings_reading.py   flags of both
embed.py              texts → a file of vectors
vectorfiles.py        its formats
"""
