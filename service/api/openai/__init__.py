"""OpenAI-compatible routes, and the one that Cohere and Jina have beside them.

embeddings.py      /v1/embeddings and /v1/models
schemas.py         their requests and responses
rerank.py          /v1/rerank
rerank_schemas.py  its request and response
"""
