"""The client in the shape that RAG frameworks expect. Each module needs its framework and is imported only by name.

All take an ``endpoint``: a URL, the absolute path of a ``requests.sock``, or nothing for the default socket. With
``keep_order`` set, an error of the service leaves the documents in their order; otherwise it raises a ``RerankError``.
"""
