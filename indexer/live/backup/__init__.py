"""Backup of a data directory in one file, and its restoring.

archive.py  members of the file, and how they are read and written
create.py   data directory → file, while it is served and written to
restore.py  file → data directory
"""
