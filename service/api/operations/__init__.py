"""Routes for operators.

routes.py          health, info, report
status.py          GET /status, /status.json and the reports of earlier models
inventory.py       artifacts and disk of a data directory
queries.py         GET /queries and /queries.json
metrics.py         GET /metrics
schemas.py         responses of health and info
status_schemas.py  responses of status and queries
"""
