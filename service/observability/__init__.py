"""Metrics, traces and logs.

metrics.py         what is counted, and the middleware that counts
worker_metrics.py  metrics of all workers added up
tracing.py         OpenTelemetry
logs.py            log lines as text or JSON
"""
