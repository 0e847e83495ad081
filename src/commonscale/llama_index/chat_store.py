"""The messages of a conversation, in lists, where LlamaIndex's memory opens a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

ANSWER_ROOM = 256
"""The tokens of the context window that LlamaIndex's chat engines leave to the answer."""


@dataclass
class _Row:
    number: int
    key: str
    status: MessageStatus
    message: ChatMessage

    def holds(self, key: str, status: MessageStatus | None) -> bool:
        return self.key == key and (status is None or self.status is status)


class InMemoryChatStore(AsyncDBChatStore):
    """Keeps messages in lists: ``Memory.from_defaults(chat_store=InMemoryChatStore(), token_limit=...)``.

    Without it, LlamaIndex's ``Memory`` opens an SQLite database in memory for them, with a thread of its own, that
    nobody closes. It copies what it takes and gives, and any number of threads and event loops may use it at once.
    """

    _rows: list[_Row] = PrivateAttr(default_factory=list)
    _last: int = PrivateAttr(default=0)
    _lock: Any = PrivateAttr(default_factory=Lock)

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Give the messages of a conversation, oldest first; a status of None is any."""
        start = offset or 0
        end = None if limit is None else start + limit
        with self._lock:
            return [_copy(row.message) for row in self._of(key, status)[start:end]]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """Count the messages of a conversation; a status of None is any."""
        with self._lock:
            return len(self._of(key, status))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        """Add a message to the end of a conversation."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: Sequence[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Add messages to the end of a conversation."""
        with self._lock:
            self._append(key, messages, status)

    async def set_messages(
        self, key: str, messages: Sequence[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Replace a conversation."""
        with self._lock:
            self._drop(self._of(key, None))
            self._append(key, messages, status)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message that was the ``idx``-th to be added to the store, from 1, and return it if it is there."""
        with self._lock:
            return next(iter(self._drop([row for row in self._of(key, None) if row.number == idx])), None)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete the messages of a conversation; a status of None is any."""
        with self._lock:
            self._drop(self._of(key, status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest active messages of a conversation, and return them."""
        with self._lock:
            return self._drop(self._of(key, MessageStatus.ACTIVE)[:n])

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest active messages of a conversation, and return them."""
        with self._lock:
            rows = self._of(key, MessageStatus.ACTIVE)[:n]
            for row in rows:
                row.status = MessageStatus.ARCHIVED
            return [_copy(row.message) for row in rows]

    async def get_keys(self) -> list[str]:
        """Name the conversations that have messages."""
        with self._lock:
            return list(dict.fromkeys(row.key for row in self._rows))

    @classmethod
    def class_name(cls) -> str:
        """Name the class, as LlamaIndex's components do."""
        return "InMemoryChatStore"

    def _of(self, key: str, status: MessageStatus | None) -> list[_Row]:
        return [row for row in self._rows if row.holds(key, status)]

    def _append(self, key: str, messages: Sequence[ChatMessage], status: MessageStatus) -> None:
        for message in messages:
            self._last += 1
            self._rows.append(_Row(self._last, key, status, _copy(message)))

    def _drop(self, rows: Sequence[_Row]) -> list[ChatMessage]:
        numbers = {row.number for row in rows}
        self._rows = [row for row in self._rows if row.number not in numbers]
        return [row.message for row in rows]


def chat_memory(context_window: int, chat_history: Sequence[ChatMessage] = ()) -> Memory:
    """Make the memory that LlamaIndex's chat engines make, without its database.

    Args:
        context_window: of the model, in tokens.
        chat_history: earlier messages.

    Returns:
        LlamaIndex's ``Memory``: it forgets the oldest messages once they pass 0.7 of the window less ``ANSWER_ROOM``.
    """
    return Memory.from_defaults(
        chat_history=list(chat_history) or None,
        token_limit=context_window - ANSWER_ROOM,
        chat_store=InMemoryChatStore(),
    )


def _copy(message: ChatMessage) -> ChatMessage:
    return message.model_copy(deep=True)
