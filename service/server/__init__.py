"""Processes and sockets.

server.py      uvicorn with draining
protocol.py    limits of the request head
listener.py    listening sockets
supervisor.py  --workers: start, replace and end processes
worker.py      one worker process
"""
