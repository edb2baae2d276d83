"""Artifacts: immutable directories with a manifest, published whole or not at all.

store.py     publish, activate, list, verify and prune artifacts; CURRENT
manifest.py  what an artifact is made of, and a checksum of every file
"""
