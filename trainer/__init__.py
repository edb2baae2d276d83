"""Learns an encoder from a corpus, and publishes encoders as model artifacts.

cli.py    files whole or not at all
files.py  files whole or not at all
"""
