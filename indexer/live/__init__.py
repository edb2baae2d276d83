"""Documents that are written while an index is served.

overlay.py   live documents over an index
legs.py      both legs over both parts
bm25.py      words of live documents
prepare.py   passages and vectors of one
log.py       on the disk before the answer
write.py     a line of it
forget.py    writes let go of
metadata.py  JSON → columns
feedback.py  clicks and grades
"""
