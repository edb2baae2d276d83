"""Routes for operators.

routes.py   health, info, report
metrics.py  GET /metrics
schemas.py  responses
"""
