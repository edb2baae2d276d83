"""Health, info, report and metrics.

metrics.py  for Prometheus
"""
