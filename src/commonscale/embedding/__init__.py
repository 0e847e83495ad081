"""Embedding whole corpora: partition by partition into Parquet shards that survive a crash, on one machine or many."""

from commonscale.embedding.embed import EmbedResult, embed_corpus
from commonscale.embedding.records import ShardBatch, ShardFailure
from commonscale.embedding.shards import Shards, open_shards
from commonscale.embedding.source import ShardSource
from commonscale.embedding.writing import write_shards

__all__ = [
    "EmbedResult",
    "ShardBatch",
    "ShardFailure",
    "ShardSource",
    "Shards",
    "embed_corpus",
    "open_shards",
    "write_shards",
]
