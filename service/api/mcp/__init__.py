"""The Model Context Protocol.

server.py            /mcp, for assistants
tools.py             what they can do
internal_request.py  a route asks another
"""
