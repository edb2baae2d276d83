"""Document routes.

routes.py    read, put and delete documents
feedback.py  POST /feedback
schemas.py   requests and responses
"""
