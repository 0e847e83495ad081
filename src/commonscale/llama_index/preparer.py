"""A node postprocessor that makes of ranked nodes what a language model reads."""

from __future__ import annotations

from typing import Any, get_args

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from llama_index.core.llms import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from commonscale.core.errors import CommonscaleWarning, InvalidInputError
from commonscale.core.warn import warn
from commonscale.llama_index.context_window import warn_if_too_long
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY
from commonscale.llama_index.prompt_items import prompt_item
from commonscale.llama_index.prompt_nodes import Engine, prepared_nodes
from commonscale.prompting import Budget, Pictures, Prompt, PromptBuilder


class PromptPreparer(BaseNodePostprocessor):
    """Chooses, numbers and prepares ranked nodes for a multimodal language model; the last postprocessor of an engine.

    Nodes are expected best first. What a budget allows comes back as new nodes in the same order: texts as
    ``TextNode``, and whatever has a picture as ``ImageNode`` with the shrunken picture itself (or the URL, if
    pictures may be passed so) instead of a path. ``[1]``, ``[2]``, ... stand before their content, so that the answer
    can cite; audio and video are not sent. Ids, scores and metadata are those of the nodes given, which stay as they
    are, and no metadata is shown twice. Nothing is kept between questions: what was sent, and what was left out and
    why, stands in the metadata of the nodes, from where ``prompt_of`` and ``citations_of`` read it back.

    Budgets, pictures and language models are not part of its serialization.

    Attributes:
        engine: what reads the nodes. ``"query"``: a ``RetrieverQueryEngine`` with ``multimodal=True``, or an engine of
            Commonscale. ``"chat"``: LlamaIndex's multimodal chat engines, which put all pictures before all text;
            each picture comes as an image node, and as a text node that says which picture stands for its number.
            ``"citation"``: ``CitationQueryEngine``, which numbers by itself, so that no labels are put in.
        metadata_mode: which metadata stand with a node's text: by default those that it does not hide from LLMs.
        modality_key: metadata key naming the modality of nodes whose class does not tell.
    """

    engine: Engine = Field(default="query", description="What reads the nodes: query, chat or citation.")
    metadata_mode: MetadataMode = Field(default=MetadataMode.LLM, description="Which metadata stand with the text.")
    modality_key: str = Field(default=DEFAULT_MODALITY_KEY, description="Metadata key that names the modality.")
    _builder: PromptBuilder = PrivateAttr()
    _llm: LLM | None = PrivateAttr()

    def __init__(
        self, budget: Budget | None = None, pictures: Pictures | None = None, *, llm: LLM | None = None, **data: Any
    ) -> None:
        """Set up the preparer.

        Args:
            budget: how much may be sent; None for no limit.
            pictures: how pictures are read, shrunk and encoded, and from where; None reads no files and no URLs.
            llm: the language model that is to read the nodes, for a ``ContextWindowWarning`` if they do not fit; for
                LlamaIndex's own engines, since those of Commonscale warn by themselves.
            data: the attributes.

        Raises:
            InvalidInputError: if ``engine`` is another one, or the budget or the pictures are something else.
        """
        if data.get("engine", "query") not in get_args(Engine):
            raise InvalidInputError(f"engine must be one of {get_args(Engine)}, got {data['engine']!r}")
        for name, value, kind in (("budget", budget, Budget), ("pictures", pictures, Pictures), ("llm", llm, LLM)):
            if value is not None and not isinstance(value, kind):
                raise InvalidInputError(f"{name} must be a {kind.__name__} or None, got {value!r}")
        super().__init__(**data)
        self._builder = PromptBuilder(budget, pictures)
        self._llm = llm

    def __setstate__(self, state: dict[str, Any]) -> None:
        # LlamaIndex drops from a pickle what cannot be in it, and calls the constructor with the fields alone: without
        # a word, a copy would send all that is found.
        private = state["__pydantic_private__"]
        if "_builder" not in private:
            raise InvalidInputError(
                f"the budget of this pickled {type(self).__name__} is lost, since its functions cannot be pickled; "
                f"give Budget(image_tokens=..., text_tokens=...) functions that are defined in a module"
            )
        BaseModel.__setstate__(self, {**state, "__pydantic_private__": {"_llm": None, **private}})

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "PromptPreparer"

    @property
    def budget(self) -> Budget:
        """How much may be sent."""
        return self._builder.budget

    @property
    def pictures(self) -> Pictures:
        """How pictures are read, shrunk and encoded."""
        return self._builder.pictures

    def prepare(self, nodes: list[NodeWithScore]) -> Prompt:
        """Make the prompt of ranked nodes, without making nodes of it; each item's payload is its hit."""
        return self._builder.build(prompt_item(hit, self.modality_key, self.metadata_mode) for hit in nodes)

    async def aprepare(self, nodes: list[NodeWithScore]) -> Prompt:
        """Make the prompt without holding up the event loop."""
        return await self._builder.abuild([prompt_item(hit, self.modality_key, self.metadata_mode) for hit in nodes])

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        return self._nodes(self.prepare(nodes))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        return self._nodes(await self.aprepare(nodes))

    def _nodes(self, prompt: Prompt) -> list[NodeWithScore]:
        if prompt.left_out and not prompt.sent:
            warn(
                f"none of {len(prompt.left_out)} documents is sent to the language model; the first one since: "
                f"{prompt.left_out[0].detail}",
                CommonscaleWarning,
            )
        if self._llm is not None:
            warn_if_too_long(prompt, self._llm, split=self.engine != "chat")
        return prepared_nodes(prompt, self.engine)
