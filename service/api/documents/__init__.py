"""Document routes.

routes.py   read, put and delete documents; feedback
schemas.py  requests and responses
"""
