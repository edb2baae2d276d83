"""Queries that a language model writes.

prompts.py     what a model is asked
ask.py         all rows, once
journal.py     no answer is lost
endpoint.py    the client of an endpoint
openai_api.py  its protocol
local.py       a model in this process
parse.py       read and sifted
"""
