"""The service: JSON API and search page over the live index.

server/         Processes and sockets
api/            HTTP API: routes, schemas and errors
security/       Authentication and limits, before routing
serving/        What is live, and which request runs when
observability/  Metrics, traces and logs
app.py          application and its lifespan
settings.py     flags and environment variables
problems.py     error kinds and their one shape
negotiation.py  what a browser gets in place of JSON
check.py        `python -m service check`
openapi.py      write openapi.json
"""
