"""Metrics, traces and logs.

metrics.py         what is counted
logs.py            for people or for programs
tracing.py         for OpenTelemetry
worker_metrics.py  of all workers
"""
