"""What is decided before any route.

permissions.py  which route needs which scope
auth.py         key, rate, size: before any route
keys.py         the file of keys
keyring.py      follows it
keys_cli.py     keys add, list, revoke
exposure.py     who can reach it
rate_limit.py   token buckets
body.py         read in time, up to its limit
cors.py         cors
hosts.py        no rebound names
"""
