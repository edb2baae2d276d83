"""Processes and sockets.

server.py      uvicorn with draining
protocol.py    one connection: its requests, limits of size and time
listener.py    listening sockets
supervisor.py  --workers: start, replace and end processes
worker.py      one worker process
"""
