"""Artifacts: immutable directories with a manifest, published whole or not at all.

store.py     publish, activate, list, verify and prune artifacts; CURRENT
contents.py  files, configuration, counts and metrics of each kind, for the reference
verified.py  files that this machine has verified, which are not read again
manifest.py  what an artifact is made of, and a checksum of every file
"""
