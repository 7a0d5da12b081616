"""The YAML of recipes: the scalars of its 1.2 core schema, no aliases or tags, no key twice; and back to text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from bertft.errors import UsageError

MAX_DIGITS = 100  # of a whole number: a longer one is no setting, and not every number of Python's can hold it


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of the 1.2 core schema, without aliases, and with duplicate keys as an error."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as the base class has it)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed in a recipe", problem_mark=mark)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.MarkedYAMLError(problem="tags are not allowed in a recipe", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is not a name", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key_node.value!r} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # YAML 1.1, which PyYAML reads, takes 010 for 8
    text = loader.construct_scalar(node)
    if len(text) > MAX_DIGITS:
        problem = f"a number of more than {MAX_DIGITS} digits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return int(text, 0) if text.lower().startswith(("0o", "0x")) else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class Dumper(yaml.SafeDumper):
    """Writes what the loader reads back."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as the base class has it)


def _resolvers() -> None:
    # YAML 1.2 core schema, section 10.3.2
    table = (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
        (
            "float",
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            "-+.0123456789",
        ),
    )
    for kind, pattern, first in table:
        for cls in (_Loader, Dumper):
            cls.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"), list(first))


_resolvers()


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the recipe's values and the line of each top-level and second-level key (`trainer.optim`)."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"the recipe is not valid YAML: {error.problem}", place=f"{name}:{line}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fact = f"the recipe is not valid YAML: the character U+{error.character:04X} is not allowed"
        raise UsageError(fact, place=f"{name}:{line}") from None
    except RecursionError:
        line = loader.line + 1 if loader else 1
        raise UsageError("the recipe is nested too deeply", place=f"{name}:{line}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError("a recipe is a mapping of keys to values", place=name)
    for section in values.values():
        if isinstance(section, dict) and not all(isinstance(key, str) for key in section):
            raise UsageError("the keys of a section are names", place=name)
    lines = {}
    for key, child in node.value if node is not None else ():
        lines[key.value] = key.start_mark.line + 1
        if isinstance(child, yaml.MappingNode):
            lines |= {f"{key.value}.{inner.value}": inner.start_mark.line + 1 for inner, _ in child.value}
    return values, lines


def scalar(text: str) -> Any:
    """Return what a text is as a YAML value; the text itself where it is none."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return text
