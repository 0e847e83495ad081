"""Use LlamaIndex's ElasticsearchStore as it is, nested event loops and all; prints the best id, asked in three ways."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
from elasticsearch import AsyncElasticsearch
from llama_index.core.schema import TextNode
from llama_index.vector_stores.elasticsearch import ElasticsearchStore

from commonscale import Question
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
store = ElasticsearchStore("nested", es_client=AsyncElasticsearch(sys.argv[1]))
store.add([TextNode(id_=i, text=i, embedding=v) for i, v in (("a", [1.0, 0.0]), ("b", [0.0, 1.0]))])
question = Question(vector=np.array([0.1, 1.0], np.float32))
source = open_source(store, StoreRequest("text"))


async def inside() -> None:
    """Ask while the loop runs."""
    sys.stdout.write(f"{source.search([question], 1)[0].ids[0]}\n")
    sys.stdout.write(f"{(await source.asearch([question], 1))[0].ids[0]}\n")


sys.stdout.write(f"{source.search([question], 1)[0].ids[0]}\n")
asyncio.run(inside())
store.close()
loop.run_until_complete(loop.shutdown_asyncgens())
