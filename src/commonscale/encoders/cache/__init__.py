"""Embeddings remembered on disk by content."""
