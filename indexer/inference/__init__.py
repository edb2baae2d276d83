"""Published models without torch: ONNX Runtime and tokenizers.

session.py         ONNX sessions, tokenizers, padded batches
pace.py            which of two ways is faster at present
encoder.py         text → unit vector
passages.py        documents → passages and encoder inputs
sparse_encoder.py  learned-sparse model: text → weights of terms
classifier.py      text → label probabilities
token_classifier.py  text → spans with labels
reranker.py        cross-encoder: query and passage → score
masked_lm.py       masked-language model: pieces, predictions, attention
llm                language models behind a URL
"""
