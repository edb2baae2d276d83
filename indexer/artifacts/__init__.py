"""Publish, activate and verify what is produced.

store.py     publish, activate, list, prune
manifest.py  what an artifact is; checksums
"""
