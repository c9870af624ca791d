"""The client in the shape that RAG frameworks expect. Each module needs its framework, and nothing imports it for you.

All take an ``endpoint``: a URL, the absolute path of a ``requests.sock``, or nothing for the socket that a client finds
by itself. With ``keep_order`` set, trouble with the service leaves the documents in the order in which they came;
otherwise it raises a ``RerankError``.
"""
