"""The node postprocessor that makes of ranked nodes what a language model reads."""

from __future__ import annotations

import asyncio
import base64
import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("llama_index.llms.openai_like")
pytest.importorskip("PIL")

from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from commonscale.core.errors import CommonscaleWarning, InvalidInputError, SkippedImageWarning
from commonscale.llama_index import PromptPreparer
from commonscale.llama_index.prompt_nodes import prompt_from_nodes
from commonscale.prompting import Budget, Pictures, Prompt, TextPart, parse_citations
from llama_answers import COLORS, color_of, ids_of, photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, color in enumerate(COLORS):
        (tmp_path / f"{i}.jpg").write_bytes(photo(color, (640, 480)))
    return tmp_path


def hits_of(*nodes: BaseNode) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=1.0 - 0.1 * place) for place, node in enumerate(nodes)]


def blocks_of(hit: NodeWithScore) -> tuple[str, ImageBlock | None]:
    blocks = hit.node.get_content_blocks(MetadataMode.LLM)
    texts = [block.text for block in blocks if isinstance(block, TextBlock)]
    images = [block for block in blocks if isinstance(block, ImageBlock)]
    assert len(texts) + len(images) == len(blocks) <= 2
    return "".join(texts), images[0] if images else None


def pixels(block: ImageBlock | None) -> Any:
    from PIL import Image

    return None if block is None else Image.open(block.resolve_image())  # type: ignore[arg-type]  # a binary stream


def forms(folder: Path) -> dict[str, BaseNode]:
    data = base64.b64encode(photo(COLORS[1])).decode()
    return {
        "path": ImageNode(image_path=str(folder / "0.jpg")),
        "base64": ImageNode(image=data),
        "base64 in lines": ImageNode(image="\n".join(data[i : i + 76] for i in range(0, len(data), 76))),
        "path in metadata": ImageNode(metadata={"file_path": str(folder / "1.jpg")}),
        "resource path": Node(image_resource=MediaResource(path=folder / "2.jpg")),
        "resource data": Node(image_resource=MediaResource(data=photo(COLORS[3]))),
        "image document": ImageDocument(image_path=str(folder / "0.jpg")),
        "caption": ImageNode(image_path=str(folder / "0.jpg"), text="a caption"),
        "index node": IndexNode(text="words", index_id="elsewhere"),
        "document": Document(text="words"),
    }


def test_every_form_of_picture_becomes_an_image_node_of_its_own(folder: Path) -> None:
    given = forms(folder)
    hits = PromptPreparer(pictures=Pictures([folder], max_side=64))._postprocess_nodes(hits_of(*given.values()))
    colors = {name: color_of(pixels(blocks_of(hit)[1])) for name, hit in zip(given, hits, strict=True)}
    assert colors == {
        "path": 0,
        "base64": 1,
        "base64 in lines": 1,
        "path in metadata": 1,
        "resource path": 2,
        "resource data": 3,
        "image document": 0,
        "caption": 0,
        "index node": None,
        "document": None,
    }
    for hit, node, number in zip(hits, given.values(), range(1, 11), strict=True):
        made = hit.node
        assert made.node_id == node.node_id
        assert isinstance(made, (ImageNode, TextNode))
        assert blocks_of(hit)[0].startswith(f"[{number}]")
        if isinstance(made, ImageNode):
            assert (made.image_path, made.image_url) == (None, None)
            assert (made.image_mimetype or "").startswith("image/")
            assert max(pixels(blocks_of(hit)[1]).size) == 64
    assert blocks_of(hits[7])[0] == "[8] a caption"
    assert blocks_of(hits[8])[0] == "[9] words"


def test_the_callers_nodes_stay_as_they_are(folder: Path) -> None:
    nodes = list(forms(folder).values())
    for node in nodes:
        node.metadata["key"] = ["a list"]
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="source")
    hits = hits_of(*nodes)
    before = [hit.model_dump() for hit in hits]
    made = PromptPreparer(pictures=Pictures([folder])).postprocess_nodes(hits)
    assert [hit.model_dump() for hit in hits] == before
    assert [hit.score for hit in made] == [hit.score for hit in hits]
    assert made[0].node.relationships == nodes[0].relationships
    made[0].node.relationships.clear()
    made[0].node.metadata.clear()
    assert [hit.model_dump() for hit in hits] == before


def test_metadata_that_llms_may_see_stand_once_with_the_text_and_paths_never(folder: Path) -> None:
    text = TextNode(text="words", metadata={"title": "a title", "secret": "s"}, excluded_llm_metadata_keys=["secret"])
    image = ImageNode(image_path=str(folder / "0.jpg"), metadata={"title": "a photo", "secret": "s"})
    image.excluded_llm_metadata_keys = ["secret"]
    made = PromptPreparer(pictures=Pictures([folder])).postprocess_nodes(hits_of(text, image))
    assert [blocks_of(hit)[0] for hit in made] == ["[1] title: a title\n\nwords", "[2] title: a photo"]
    assert [hit.node.get_content(MetadataMode.LLM) for hit in made] == [blocks_of(hit)[0] for hit in made]
    assert made[0].node.metadata["secret"] == "s"
    assert made[0].node.get_metadata_str(MetadataMode.EMBED) == ""
    bare = PromptPreparer(pictures=Pictures([folder]), metadata_mode=MetadataMode.NONE)
    assert [blocks_of(hit)[0] for hit in bare.postprocess_nodes(hits_of(text, image))] == ["[1] words", "[2]"]


def test_urls_are_passed_to_the_provider_and_not_fetched_here() -> None:
    address = "https://example.com/a.png"
    nodes = [ImageNode(image_url=address, text="far"), Node(image_resource=MediaResource(url=address))]  # type: ignore[arg-type]
    made = PromptPreparer(pictures=Pictures(urls="pass")).postprocess_nodes(hits_of(*nodes))
    for hit in made:
        assert isinstance(hit.node, ImageNode)
        assert (hit.node.image, hit.node.image_url) == (None, address)
        _, block = blocks_of(hit)
        assert block is not None
        assert str(block.url) == address
    prompt = prompt_from_nodes(made)
    assert [sent.picture.url for sent in prompt.sent if sent.picture is not None] == [address, address]


def test_pictures_that_may_not_be_read_drop_out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "a.jpg"
    outside.write_bytes(photo(COLORS[0]))
    nodes = {
        "outside": ImageNode(image_path=str(outside)),
        "up": ImageNode(image_path=str(folder / ".." / outside.parent.name / "a.jpg")),
        "url": ImageNode(image_url="http://127.0.0.1/a.png"),
        "path as base64": ImageNode(image=str(folder / "0.jpg")),
        "damaged": ImageNode(image=base64.b64encode(b"no picture").decode()),
        "url as path": ImageNode(image_path="http://127.0.0.1/a.png"),
        "good": ImageNode(image_path=str(folder / "0.jpg")),
    }
    for name, node in nodes.items():
        node.id_ = name
    preparer = PromptPreparer(pictures=Pictures([folder]))
    with pytest.warns(SkippedImageWarning, match="6 picture"):
        made = preparer.postprocess_nodes(hits_of(*nodes.values()))
    assert ids_of(made) == ["good"]
    left = {item.item.id: item for item in prompt_from_nodes(made).left_out}
    assert list(left) == list(nodes)[:-1]
    assert {item.reason.value for item in left.values()} == {"picture"}
    assert left["up"].item.score == pytest.approx(0.9)


def test_what_was_sent_and_left_out_is_read_back_exactly(folder: Path) -> None:
    nodes = [*(TextNode(id_=f"t{i}", text=f"words {i} " * 20) for i in range(4)), *forms(folder).values()]
    preparer = PromptPreparer(Budget(items=5, images=2, item_tokens=15), Pictures([folder]))
    hits = hits_of(*nodes)
    prompt = preparer.prepare(hits)
    back = prompt_from_nodes(preparer.postprocess_nodes(hits))
    assert prompt.left_out
    assert any(sent.cut for sent in prompt.sent)
    assert _shown(back) == _shown(prompt)
    assert back.tokens == prompt.tokens
    assert [(s.number, s.item.id, s.item.modality, s.item.score, s.text, s.cut, s.note) for s in back.sent] == [
        (s.number, s.item.id, s.item.modality, s.item.score, s.text, s.cut, s.note) for s in prompt.sent
    ]
    assert [(left.item.id, left.item.score, left.reason, left.detail) for left in back.left_out] == [
        (left.item.id, left.item.score, left.reason, left.detail) for left in prompt.left_out
    ]


def _shown(prompt: Prompt) -> list[Any]:
    return [
        part if isinstance(part, TextPart) else (part.picture.content, part.picture.mime_type, part.picture.width)
        for part in prompt.parts
    ]


def test_a_picture_and_a_passage_may_share_an_id(folder: Path) -> None:
    picture = forms(folder)["path"].model_copy(update={"id_": "7"})
    hits = hits_of(picture, TextNode(id_="7", text="a passage"), TextNode(id_="8", text="long " * 900))
    hits.append(NodeWithScore(node=picture.model_copy(update={"id_": "8"}), score=0.1))
    preparer = PromptPreparer(Budget(maximum={"image": 1}, tokens=2400), Pictures([folder]))
    back = prompt_from_nodes(preparer.postprocess_nodes(hits))
    cited = [citation.item for citation in parse_citations("passage [2], picture [1]", back).cited]
    assert [(item.id, item.modality, item.text) for item in cited] == [("7", "text", "a passage"), ("7", "image", "")]
    left = [(left.item.id, left.item.modality, left.reason.value) for left in back.left_out]
    assert left == [("8", "text", "tokens"), ("8", "image", "maximum")]


async def test_async_gives_the_same_and_does_not_hold_up_the_loop(folder: Path) -> None:
    hits = hits_of(*forms(folder).values())
    preparer = PromptPreparer(pictures=Pictures([folder]))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    made = await preparer.apostprocess_nodes(hits)
    ticking.cancel()
    assert ticks > 1
    assert [hit.model_dump() for hit in made] == [hit.model_dump() for hit in preparer.postprocess_nodes(hits)]
    prompt = await preparer.aprepare(hits)
    assert _shown(prompt) == _shown(preparer.prepare(hits))


def test_quotas_go_by_what_a_node_is_and_by_the_users_key() -> None:
    texts = [TextNode(id_=f"{kind}{i}", text="words", metadata={"kind": kind}) for i in range(3) for kind in "ab"]
    preparer = PromptPreparer(Budget(maximum={"a": 1}), modality_key="kind")
    made = preparer.postprocess_nodes(hits_of(*texts))
    assert ids_of(made) == ["a0", "b0", "b1", "b2"]
    assert {sent.item.modality for sent in prompt_from_nodes(made).sent} == {"a", "b"}


def test_a_later_postprocessor_may_drop_and_reorder(folder: Path) -> None:
    made = PromptPreparer().postprocess_nodes(hits_of(*(TextNode(id_=name, text=name) for name in "abc")))
    prompt = prompt_from_nodes([made[2], made[0]])
    assert [(sent.number, sent.item.id) for sent in prompt.sent] == [(1, "a"), (3, "c")]
    third = prompt.item(3)
    assert third is not None
    assert third.id == "c"
    assert prompt.item(2) is None


def test_nodes_that_nobody_prepared_are_passed_over() -> None:
    assert prompt_from_nodes(hits_of(TextNode(text="Source 1: words"))).sent == ()


def test_what_others_wrote_under_our_keys_is_no_cosine() -> None:
    strange = {"commonscale_cosine": "n/a", "commonscale_prompt": "mine", "commonscale_left_out": 5}
    (hit,) = PromptPreparer().postprocess_nodes(hits_of(TextNode(id_="a", text="passage", metadata=strange)))
    (sent,) = prompt_from_nodes([hit]).sent
    assert (sent.item.id, sent.item.cosine) == ("a", None)


def test_a_budget_for_nothing_is_warned_of() -> None:
    with pytest.warns(CommonscaleWarning, match=r"none of 1 documents is sent.*tokens"):
        assert PromptPreparer(Budget(tokens=1)).postprocess_nodes(hits_of(TextNode(text="many words " * 50))) == []


def test_mistakes_are_told() -> None:
    with pytest.raises(InvalidInputError, match=r"engine must be one of .*'chat'.* got 'agent'"):
        PromptPreparer(engine="agent")
    with pytest.raises(InvalidInputError, match="budget must be a Budget or None, got 5"):
        PromptPreparer(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="pictures must be a Pictures or None, got 'folder'"):
        PromptPreparer(pictures="folder")  # type: ignore[arg-type]


def test_settings_survive_serialization() -> None:
    made = PromptPreparer.from_dict(PromptPreparer(engine="chat", modality_key="kind").to_dict())
    assert (made.engine, made.modality_key) == ("chat", "kind")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
def test_frameworks_may_copy_and_pickle_it(folder: Path, copied: Callable[[PromptPreparer], PromptPreparer]) -> None:
    preparer = PromptPreparer(Budget(images=1), Pictures([folder], max_side=100), engine="chat")
    hits = hits_of(*forms(folder).values())
    made = preparer.postprocess_nodes(hits)
    again = copied(preparer)
    assert again.pictures is not preparer.pictures
    assert (again.engine, again.budget) == ("chat", preparer.budget)
    shown = [(hit.node.get_content_blocks(), hit.score) for hit in again.postprocess_nodes(hits)]
    assert shown == [(hit.node.get_content_blocks(), hit.score) for hit in made]
    assert shown[0][0][-1].image_mimetype == "image/png"


def test_a_pickle_without_its_budget_is_refused() -> None:
    pickled = pickle.dumps(PromptPreparer(Budget(image_tokens=lambda width, height: width * height)))
    with pytest.raises(InvalidInputError, match=r"the budget of this pickled PromptPreparer is lost"):
        pickle.loads(pickled)


def test_prepared_image_nodes_are_read_back_as_llama_index_image_nodes(folder: Path) -> None:
    from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc

    preparer = PromptPreparer(pictures=Pictures([folder]))
    (made,) = preparer.postprocess_nodes(hits_of(ImageNode(id_="i", image_path=str(folder / "2.jpg"), text="caption")))
    read = json_to_doc(doc_to_json(made.node))
    assert type(read) is ImageNode
    assert read.text == "[1] caption"
    assert prompt_from_nodes([NodeWithScore(node=read)]).sent[0].picture is not None
