"""Document routes.

routes.py         read, put and delete documents
feedback.py       POST /feedback
fit.py            documents checked against the index
stream.py         a stream of documents: its body, its turns, its answer
lines.py          lines of a body that arrives in pieces
schemas.py        requests and responses
fetch.py          documents by ids or by a filter: read page by page, and deleted
fetch_schemas.py  requests and responses of these
"""
