"""Answers search requests over HTTP and shows one HTML page. Imports no torch.

app.py            the application
problems.py       one shape of error
openapi.py        writes openapi.json
check.py          what is in the way
openai_errors.py  openai errors
settings.py       settings
"""
