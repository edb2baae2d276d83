"""Document routes.

routes.py         read, put and delete documents
feedback.py       POST /feedback
schemas.py        requests and responses
fetch.py          documents by ids or by a filter: read page by page, and deleted
fetch_schemas.py  requests and responses of these
"""
