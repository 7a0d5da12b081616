"""The values of recipes: what text and YAML have as the types that the settings take."""

from __future__ import annotations

import ast
import math
import re
import types
import typing
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from bertft.errors import UsageError
from bertft.recipe.syntax import MAX_DIGITS, scalar

_INTEGER = re.compile(f"[-+]?[0-9]{{1,{MAX_DIGITS}}}")


def coerce(value: object, hint: Any) -> Any:
    """Return `value` as the type `hint` says (a class, a union, a Literal); text is read as that type.

    Raises ValueError for a value that cannot be of that type.
    """
    arms = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if type(None) in arms and value in (None, "null", "~"):
        return None
    for arm in sorted(arms, key=lambda arm: arm is str):  # any text is a str: the other readings come first
        done, result = _as(value, arm)
        if done:
            return result
    names = [
        " | ".join(map(str, typing.get_args(arm)))
        if typing.get_origin(arm) is Literal
        else getattr(arm, "__name__", "")
        for arm in arms
    ]
    shown = {"NoneType": "null", "tuple": "list"}
    raise ValueError(f"{value!r:.200} is not {' or '.join(shown.get(n, n) for n in names)}")


def _as(value: object, arm: Any) -> tuple[bool, Any]:
    origin = typing.get_origin(arm)
    if typing.get_origin(arm) in (typing.Union, types.UnionType):
        return any(_as(value, a)[0] for a in typing.get_args(arm)), value
    if origin is Literal:
        return value in typing.get_args(arm), value
    if arm is Any:
        return True, value
    if arm is bool:
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return True, value.lower() == "true"
        return isinstance(value, bool), value
    if isinstance(value, bool):
        return False, None
    if arm is int and (isinstance(value, int) or (isinstance(value, str) and _INTEGER.fullmatch(value))):
        return True, int(value)
    if arm is int or arm is float:
        try:
            number = float(value)  # type: ignore[arg-type]  # a TypeError is the answer
        except (TypeError, ValueError, OverflowError):
            return False, None
        if arm is float:
            return not math.isnan(number), number
        whole = math.isfinite(number) and number.is_integer()
        return whole, int(number) if whole else None
    if arm is str:
        return isinstance(value, str), value
    base = origin or arm
    if base in (dict, list, tuple):
        if isinstance(value, str):
            value = scalar(value)
        return isinstance(value, dict if base is dict else list), value
    return False, None


@cache
def trainer_fields() -> dict[str, str]:
    """Return the fields of the installed `transformers.TrainingArguments`, name → annotation, without importing it.

    Reading the source takes milliseconds, the import seconds.
    """
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise UsageError("transformers is not installed", help="`pip install bertft` brings it")
    source = (Path(spec.origin).parent / "training_args.py").read_text(encoding="utf-8")
    return dict(_fields(ast.parse(source)))


def _fields(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield item.target.id, ast.unparse(item.annotation)


def trainer_value(key: str, value: object) -> Any:
    """Return a value as the type of a field of TrainingArguments; raises ValueError for one that it is not."""
    annotation = trainer_fields()[key]
    names = {"bool": bool, "int": int, "float": float, "None": type(None), "str": str}
    arms = []
    for part in annotation.split("|"):
        base = part.strip().partition("[")[0]
        # enumerations of transformers (IntervalStrategy, …) are written as their string
        arms.append(names.get(base) or {"dict": dict, "list": list, "Literal": bool}.get(base, str))
    found = coerce(value, typing.Union[tuple(dict.fromkeys(arms))])  # noqa: UP007  (built at run time)
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError(f"{value!r:.100} is no finite number")
    return found
