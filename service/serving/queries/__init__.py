"""The query log of a running service.

recorder.py   buffer of searches, and the thread that writes them
redaction.py  what is left out before a query is kept
"""
