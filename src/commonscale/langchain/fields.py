"""The check that every keyword given to a class of this package is one of its fields."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from commonscale.core.errors import InvalidInputError


def refuse_unknown(cls: type[BaseModel], given: Iterable[str]) -> None:
    """Refuse keywords that name no field: LangChain's base classes ignore them, and a typo would go unnoticed.

    Args:
        cls: the class that is being constructed.
        given: the keywords.

    Raises:
        InvalidInputError: if one of them names no field.
    """
    known = {name for field_name, field in cls.model_fields.items() for name in (field_name, field.alias) if name}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidInputError(
            f"{cls.__name__} has no field {', '.join(map(repr, unknown))}; its fields are {', '.join(cls.model_fields)}"
        )
