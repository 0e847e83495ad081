"""Every vector store of both frameworks under one interface, for the behavioral suite.

``corpus`` holds the items and their ranking by brute force, ``kind`` says what the suite needs of a store, one module
per database describes its stores, ``registry`` lists them all, and ``ours`` asks our retrievers the same way in both
frameworks.
"""
