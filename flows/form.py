"""What stands beside the fields of a form: Prefect reads that from the docstring alone, in Google's style."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from pydantic.fields import FieldInfo

__all__ = ["with_form"]

Function = TypeVar("Function", bound=Callable[..., Any])


def with_form(function: Function) -> Function:
    """Let the form of a flow's function show the descriptions of its annotated parameters.

    Write it below ``@flow``: each parameter is ``Annotated[type, Field(description=...)]``.
    """
    lines = [
        f"    {name}: {one.description}"
        for name, hint in get_type_hints(function, include_extras=True).items()
        for one in getattr(hint, "__metadata__", ())
        if isinstance(one, FieldInfo) and one.description
    ]
    function.__doc__ = "\n".join([(function.__doc__ or "").rstrip(), "", "Args:", *lines])
    return function
