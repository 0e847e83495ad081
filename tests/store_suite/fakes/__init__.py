"""Loopback servers that stand in for databases of which no real server can be had here.

They are fakes: they speak the real clients' protocols, refuse every field of a request that they do not know, apply the
filters of the request and compute the nearest vectors exactly with numpy over what was indexed. Their replies have the
shape of the recorded ones in each database's documentation. What they cannot show is how a real server behaves beyond
that: its approximation, its speed, its versions' peculiarities.
"""
