"""What is live, and which request runs when.

searcher.py        live index, model and live documents
milvus.py          the same over Milvus
follower.py        follows CURRENT of one kind of artifact
recheck.py         all files of an opened index read again in the background
memory.py          memory that is available
live_documents.py  writes: log, then snapshot
tenants.py         index as a key with a filter sees it
rules.py           synonyms and stop words in files that are followed
model.py           model of the live index
queue.py           bounded request queue: 429, 504, commits
batching.py        queued queries encoded together
queries/           query log of a running service
"""
