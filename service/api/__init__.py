"""What HTTP clients see.

schemas.py     requests and responses
request_id.py  request ids, careful headers
pages.py       docs
"""
