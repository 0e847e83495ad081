"""From ``PROVIDER:MODEL`` to a chat model of LangChain."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from commonscale.answering.failures import Failures
from commonscale.core.errors import AnswererError, InvalidInputError
from commonscale.core.extras import require

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "anthropic": "ANTHROPIC_API_KEY",
        "azure_openai": "AZURE_OPENAI_API_KEY",
        "cohere": "COHERE_API_KEY",
        "deepseek": "DEEPSEEK_API_KEY",
        "fireworks": "FIREWORKS_API_KEY",
        "google_genai": "GOOGLE_API_KEY",
        "groq": "GROQ_API_KEY",
        "mistralai": "MISTRAL_API_KEY",
        "nvidia": "NVIDIA_API_KEY",
        "openai": "OPENAI_API_KEY",
        "openrouter": "OPENROUTER_API_KEY",
        "perplexity": "PPLX_API_KEY",
        "together": "TOGETHER_API_KEY",
        "xai": "XAI_API_KEY",
    }
)
"""The environment variable that LangChain reads a provider's key from, for messages."""

EXAMPLES = "openai:gpt-4.1-mini, anthropic:claude-sonnet-5, google_genai:gemini-3.5-flash or ollama:llama3.2-vision"

_INSTALL = re.compile(r"pip install [\w\"'\[\],.-]+")


def chat_model(name: str, base_url: str | None, failures: Failures, settings: Mapping[str, Any]) -> BaseChatModel:
    """Make a chat model.

    Args:
        name: ``PROVIDER:MODEL``.
        base_url: of a server that speaks the provider's protocol; None for the provider's own.
        failures: explains what goes wrong.
        settings: for the model.

    Raises:
        InvalidInputError: if the name or the URL has another form.
        AnswererError: if the provider is not known, its package is not installed, or there is no key.
        MissingExtraError: if langchain is not installed.
    """
    provider, _, model = name.partition(":")
    if not provider.strip() or not model.strip():
        raise InvalidInputError(f"a language model is named PROVIDER:MODEL, such as {EXAMPLES}, or demo; got {name!r}")
    given = dict(settings)
    if base_url is not None:
        if not base_url.startswith(("http://", "https://")):
            raise InvalidInputError(f"the base URL must begin with http:// or https://, got {base_url!r}")
        given["base_url"] = base_url
        if provider == "openai" and not os.environ.get(KEYS[provider]):
            # Servers of one's own ask for no key, but the client insists on one.
            given.setdefault("api_key", "none")
    models = require("langchain.chat_models", "chat")
    try:
        if provider == "ollama":  # without it LangChain looks for it in another package, and fails oddly
            _import_ollama()
        made: BaseChatModel = models.init_chat_model(model, model_provider=provider, **given)
    except ImportError as error:
        command = _INSTALL.search(str(error))
        raise AnswererError(
            f"{name} needs a package of its own that is not installed. Run:\n"
            f"{command.group() if command else f'pip install langchain-{provider}'}"
        ) from error
    except Exception as error:
        known = _unknown(error)
        raise (
            AnswererError(f"{name}: LangChain knows no provider {provider!r}; {known}") if known else failures(error)
        ) from error
    return made


def _import_ollama() -> None:
    try:
        __import__("langchain_ollama")
    except ImportError as error:
        raise ImportError("pip install langchain-ollama", name="langchain_ollama") from error


def _unknown(error: Exception) -> str:
    _, found, providers = str(error).partition("Supported model providers are: ")
    return f"it knows {providers}" if found else ""
