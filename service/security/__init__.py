"""Authentication and limits, before routing.

auth.py            middleware: key, scope, rate limit, body size
permissions.py     scope of every route, in one table
keys.py            key file, and the keyring that follows it
keys_cli.py        keys add, list, revoke
rate_limit.py      token buckets
body.py            body within its limit and time
hosts.py           allowed host names (DNS rebinding)
exposure.py        refuse to start open to the network
cors.py            allowed origins
image_sources.py   where the page may load pictures from
"""
