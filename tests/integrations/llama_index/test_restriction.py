"""What a mixed store is asked for: by the class of the nodes, and under filters of any shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import Document, ImageDocument, ImageNode, IndexNode, MediaResource, Node, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from commonscale import Question
from commonscale.core.errors import CommonscaleWarning
from commonscale.core.types import Hit
from commonscale.llama_index.catalog import MappedNodes
from commonscale.llama_index.restriction import TYPE_KEY, filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from store_suite import chroma, elasticsearch, lancedb, milvus, opensearch, postgres, qdrant, weaviate
from store_suite.kind import Kind, Place

IMAGES = ("ImageDocument", "ImageNode")
TEXTS = ("Document", "IndexNode", "Node", "TextNode")

AND, OR, NOT = FilterCondition.AND, FilterCondition.OR, FilterCondition.NOT


def group(*filters: Any, condition: FilterCondition = AND) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


def is_(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


def made_nodes() -> list[Any]:
    """A node of every class; the metadata number them, and every second one is even."""
    made: list[Any] = [
        Document(text="a document"),
        ImageDocument(image=b"a picture"),
        ImageNode(image_path="b.png"),
        IndexNode(text="an index node", index_id="elsewhere"),
        Node(text_resource=MediaResource(text="a node")),
        TextNode(text="a text node"),
    ]
    for number, (node, vector) in enumerate(zip(made, np.eye(6, 16) + 0.1, strict=True)):
        node.id_ = f"00000000-0000-0000-0000-00000000000{number}"
        node.metadata = {"number": number, "parity": number % 2, "name": type(node).__name__}
        node.embedding = vector.tolist()
    return made


def first(module: Any) -> Kind:
    return next(kind for kind in module.KINDS if kind.framework == "llama_index")


STORES = {
    name: first(module)
    for name, module in {
        "qdrant": qdrant,
        "chroma": chroma,
        "lancedb": lancedb,
        "milvus": milvus,
        "postgres": postgres,
        "fake-elasticsearch": elasticsearch,
        "fake-opensearch": opensearch,
        "fake-weaviate": weaviate,
    }.items()
}


@pytest.fixture(scope="module", params=STORES)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    from store_suite.checks import require

    kind = STORES[request.param]
    require(kind, "filters")
    place = Place(Path(tmp_path_factory.mktemp(request.param)), 16, request.getfixturevalue)
    store = kind.make(place, [])
    # The Milvus store itself refuses to add a Node, which has no field named text.
    nodes = [node for node in made_nodes() if not (request.param == "milvus" and type(node) is Node)]
    if request.param == "fake-elasticsearch":
        url = place.server("fake_elasticsearch_8")
        made = partial(elasticsearch.llama_store, url, store.index_name)
        elasticsearch.awaited(url, lambda client: made(client).async_add(nodes))
    else:
        store.add(nodes)
    yield Filled(store, {type(node).__name__ for node in nodes})
    place.close()


class Filled(NamedTuple):
    """A store, and the classes of nodes in it."""

    store: Any
    classes: set[str]

    def of(self, *classes: str) -> list[str]:
        return sorted(self.classes & set(classes))


def found(store: Any, modality: str = "text", *, mixed: bool = True, **settings: Any) -> list[str]:
    source: Any = open_source(store, StoreRequest(modality, mixed, **settings))
    (answer,) = source.search([Question(vector=np.ones(16, np.float32))], 10)
    hits = [Hit(i, modality, 0.0, 0.0, p) for i, p in zip(answer.ids, answer.payloads or (), strict=True)]
    return sorted(node.metadata["name"] for node in source.nodes(hits))


def test_every_class_of_nodes_is_found_by_its_class(filled: Filled) -> None:
    assert found(filled.store, "text", modality_key=TYPE_KEY) == filled.of(*TEXTS)
    assert found(filled.store, "image", modality_key=TYPE_KEY) == filled.of(*IMAGES)


@pytest.mark.parametrize("condition", [AND, OR])
def test_the_class_joins_the_users_filters(condition: FilterCondition, filled: Filled) -> None:
    given = group(is_("parity", 0), is_("parity", 7), condition=condition)
    even = [] if condition == AND else [type(node).__name__ for node in made_nodes()[::2]]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", CommonscaleWarning)
        texts, images = (found(filled.store, m, modality_key=TYPE_KEY, filters=given) for m in ("text", "image"))
    assert (texts, images) == (filled.of(*set(even) & set(TEXTS)), filled.of(*set(even) & set(IMAGES)))
    assert sum(issubclass(one.category, CommonscaleWarning) for one in warned) == (2 if condition == AND else 0)
    assert len(given.filters) == 2


EMPTY: dict[str, Callable[[], MetadataFilters]] = {
    "or": lambda: group(condition=OR),
    "and": group,
    "nested": lambda: group(group(condition=OR), group(group(), condition=OR)),
    "nested-or": lambda: group(group(condition=OR), group(), condition=OR),
}


@pytest.mark.parametrize("shape", EMPTY)
def test_groups_that_demand_nothing_leave_everything(shape: str, filled: Filled) -> None:
    everything = filled.of(*TEXTS, *IMAGES)
    assert found(filled.store, mixed=False, filters=EMPTY[shape]()) == everything
    assert found(filled.store, "image", modality_key=TYPE_KEY, filters=EMPTY[shape]()) == filled.of(*IMAGES)
    beside = group(EMPTY[shape](), is_("name", "TextNode"), condition=OR)
    assert found(filled.store, mixed=False, filters=beside) == ["TextNode"]
    assert found(filled.store, modality_key=TYPE_KEY, filters=beside) == ["TextNode"]


def test_empty_groups_are_left_out_once_and_the_callers_filters_stay_as_they_are() -> None:
    given = group(group(condition=OR), group(is_("a", 1), group(), condition=NOT), is_("b", 2), condition=OR)
    before = given.model_dump()
    joined = filters_of(StoreRequest("image", mixed=True, filters=given))
    assert joined is not None
    assert joined.filters == [
        group(group(is_("a", 1), condition=NOT), is_("b", 2), condition=OR),
        is_("modality", "image"),
    ]
    assert given.model_dump() == before
    assert filters_of(StoreRequest("image", filters=group(group(), condition=NOT))) is None


def test_a_simple_store_takes_empty_groups_for_nothing_demanded() -> None:
    from llama_index.core.vector_stores.simple import SimpleVectorStore

    store, nodes = SimpleVectorStore(), made_nodes()
    store.add(nodes)
    catalog = MappedNodes({node.node_id: node for node in nodes})
    filters = group(group(condition=OR), is_("parity", 0))
    source = open_source(store, StoreRequest("text", filters=filters, catalog=catalog))
    assert len(source.search([Question(vector=np.ones(16, np.float32))], 10)[0].ids) == 3


@pytest.mark.parametrize(
    ("modality", "words"),
    [
        ("text", "documents of another class than ImageDocument or ImageNode ('_node_type'). If there are any, add"),
        ("image", "documents of the class ImageDocument or ImageNode ('_node_type'). If there are any, add"),
    ],
)
def test_classes_that_are_not_there_are_named(modality: str, words: str, tmp_path: Path) -> None:
    pytest.importorskip("llama_index.vector_stores.qdrant")
    place = Place(tmp_path, 16, lambda name: pytest.fail(f"no server {name} is needed"))
    store = STORES["qdrant"].make(place, [])
    others = [node for node in made_nodes() if type(node).__name__ in (TEXTS if modality == "image" else IMAGES)]
    store.add(others)
    with pytest.warns(CommonscaleWarning) as warned:
        assert found(store, modality, modality_key=TYPE_KEY) == []
    assert words in str(warned[0].message)
    place.close()
