"""hypothesis strategies: events of any contract's schema, raw values."""

from typing import Any

from hypothesis import strategies as st

from wardstream.contracts.avro_tree import expand

LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": INTS,
    "long": LONGS,
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=20),
    "string": st.text(max_size=20),
}


def values(tree: Any) -> st.SearchStrategy[Any]:
    """Values of an expanded type."""
    if isinstance(tree, list):
        return st.one_of([values(branch) for branch in tree])
    kind = tree["type"]
    if kind == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in tree["fields"]})
    if kind == "array":
        return st.lists(values(tree["items"]), max_size=4)
    if kind == "map":
        return st.dictionaries(st.text(max_size=5), values(tree["values"]), max_size=4)
    return SIMPLE[kind]


def events(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Whole events of a schema."""
    return values(expand(schema))
