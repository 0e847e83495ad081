"""The fakes as fixtures, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from store_suite.fakes.elasticsearch import FakeElasticsearch
from store_suite.fakes.http import serve
from store_suite.fakes.opensearch import FakeOpenSearch
from store_suite.fakes.weaviate import FakeWeaviate, serve_weaviate


@pytest.fixture(scope="session")
def fake_elasticsearch_8() -> Iterator[str]:
    """The URL of a fake Elasticsearch that keeps vectors in ``_source``."""
    with serve(FakeElasticsearch("8.19.3")) as url:
        yield url


@pytest.fixture(scope="session")
def fake_elasticsearch_9() -> Iterator[str]:
    """The URL of a fake Elasticsearch that leaves vectors out of ``_source``."""
    with serve(FakeElasticsearch("9.2.0")) as url:
        yield url


@pytest.fixture(scope="session")
def fake_opensearch() -> Iterator[str]:
    """The URL of a fake OpenSearch."""
    with serve(FakeOpenSearch()) as url:
        yield url


@pytest.fixture(scope="session")
def fake_weaviate() -> Iterator[FakeWeaviate]:
    """A fake Weaviate."""
    with serve_weaviate() as server:
        yield server
