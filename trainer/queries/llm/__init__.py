"""Queries written by a language model.

ask.py         ask for each row, resume, fill the frame
journal.py     answers kept on disk
prompts.py     prompts by kind of query
shots.py       examples from the corpus for base models
parse.py       answers → clean queries
endpoint.py    what is asked for queries
local.py       a model in this process
"""
