"""HTTP API: routes, schemas and errors.

search/          Search routes
documents/       Document routes
models/          Routes of published models other than the encoder
openai/          OpenAI-compatible routes
mcp/             Model Context Protocol for assistants
operations/      Routes for operators
dependencies.py  live index of the caller, for routes
direct.py        some routes without the framework's routing
errors.py        exceptions → problems
problem_responses.py  problems in the OpenAPI document
schemas.py       schemas that several rooms share
examples.py      examples of /docs from the live index
pages.py         search page and /docs
request_id.py    request ids and security headers
"""
