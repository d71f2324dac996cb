"""A JSON Schema with what repeats in it written once."""

from collections import Counter
from typing import Any, Final

from autoft.core.jsonable import Json

SMALLEST: Final = 12
"""Values within a part that is worth a definition of its own."""


def with_shared_parts(schema: Json) -> Json:
    """Return an equal schema whose larger parts stand once, in `$defs`, however often they are needed."""
    return _Sharing().shared(schema)


class _Sharing:
    """Numbers every part by its content: equal parts have one number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._uses: Counter[int] = Counter()
        self._sizes: dict[int, int] = {}
        self._of: dict[int, int] = {}
        """Number of the part, by the identity of the object; all objects live as long as the schema."""
        self._definitions: Json = {}
        self._names: dict[int, str] = {}

    def shared(self, schema: Json) -> Json:
        self._number(schema)
        top = {key: self._rewritten(value) for key, value in schema.items()}
        return top | {"$defs": top.get("$defs", {}) | self._definitions}

    def _number(self, part: Any) -> int:
        if isinstance(part, dict):
            key: Any = ("map", *((name, self._number(value)) for name, value in part.items()))
        elif isinstance(part, list):
            key = ("list", *map(self._number, part))
        else:
            key = (type(part).__name__, part)
        number = self._numbers.setdefault(key, len(self._numbers))
        self._of[id(part)] = number
        self._uses[number] += 1
        inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        self._sizes[number] = 1 + sum(self._sizes[self._of[id(value)]] for value in inside)
        return number

    def _rewritten(self, part: Any) -> Any:
        number = self._of[id(part)]
        if not (_is_schema(part) and self._uses[number] > 1 and self._sizes[number] >= SMALLEST):
            return self._inside(part)
        if number not in self._names:
            self._names[number] = f"shared_{len(self._names) + 1}"
            self._definitions[self._names[number]] = self._inside(part)
        return {"$ref": f"#/$defs/{self._names[number]}"}

    def _inside(self, part: Any) -> Any:
        if isinstance(part, dict):
            return {name: self._rewritten(value) for name, value in part.items()}
        return [self._rewritten(value) for value in part] if isinstance(part, list) else part


def _is_schema(part: Any) -> bool:
    """Return whether a map is a schema, and not a map of names to schemas."""
    return isinstance(part, dict) and (isinstance(part.get("anyOf"), list) or isinstance(part.get("type"), str))
