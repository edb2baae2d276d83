"""Shards of an index that is built: read, cut, embedded and written one after the other, and gone on with after a kill.

shard.py      where shards end, their files and markers
windows.py    reading side: documents into shards, cut into windows of passages
embedding.py  vectors of each window: resumed, known, or encoded
pipeline.py   threads that read ahead and write behind
earlier.py    shards of an earlier index that are taken over
tables.py     passages, and ids and keys in their order, in bounded memory
exact.py      ids and values that a whole query may equal
"""
