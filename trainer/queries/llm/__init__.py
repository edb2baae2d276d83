"""Queries written by a language model.

ask.py         ask about every row once
journal.py     answers kept on disk
prompts.py     prompts by kind of query
parse.py       answers → clean queries
endpoint.py    client of an OpenAI-compatible endpoint
openai_api.py  its protocol
local.py       a model in this process
"""
