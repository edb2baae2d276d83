"""Processes and sockets.

server.py      drains on SIGTERM
protocol.py    limits of the head
listener.py    the port
supervisor.py  the supervisor
worker.py      one of several processes
"""
