"""Vector databases by their own clients: what the LlamaIndex and the LangChain adapters of one database share.

Both frameworks wrap the same clients, and both return one number for one question, whatever the database could do.
Here each database is asked directly: many questions in one call where it can, stored vectors beside the hits where its
number is not the cosine. Nothing here knows a framework, and no client is imported: the stores bring theirs.
"""
