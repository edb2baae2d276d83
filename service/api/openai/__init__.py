"""OpenAI-compatible routes.

embeddings.py  /v1/embeddings and /v1/models
schemas.py     requests and responses
"""
