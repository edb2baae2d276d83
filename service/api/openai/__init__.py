"""OpenAI's routes.

embeddings.py  /v1, as OpenAI has it
schemas.py     embeddings schemas
"""
