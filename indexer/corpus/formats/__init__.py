"""Formats of files: CSV, JSON lines, JSON arrays, Parquet.

csv.py           CSV and TSV files: quoting, types that hold for every row
jsonl.py         JSON lines
json_array.py    elements of a JSON array
parquet.py       Parquet files
parquet_open.py  how they are opened, so that every value can be read
text_file.py     text files opened: compression and encodings
"""
