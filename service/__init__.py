"""Answers search requests over HTTP and shows one HTML page. Imports no torch."""
