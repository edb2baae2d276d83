"""Model Context Protocol for assistants.

server.py            /mcp
tools.py             search and read, as tools
internal_request.py  call a route of the service from within a request
"""
