"""Converts an OpenAPI document from version 3.1 to 3.0."""

from __future__ import annotations

import typing as t


def convert_to_3_0(node: t.Any) -> t.Any:
    """Replace keywords that OpenAPI 3.0 lacks. No property is named like one of them.

    :param node: the document, or a part of it.
    :returns: the converted copy.
    """
    if isinstance(node, list):
        return [convert_to_3_0(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: convert_to_3_0(value) for key, value in node.items()}
    if {"type": "null"} in found.get("anyOf", ()):
        (other,) = (x for x in found.pop("anyOf") if x != {"type": "null"})
        found |= {**other, "nullable": True}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    # OpenAPI 3.0 ignores everything beside a $ref.
    if "$ref" in found and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found
