"""docs/openapi.yaml is valid OpenAPI 3.1 and describes what the parser of routes takes: no more, no less."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml

from p2p.core.oci.descriptor import validate_media_type
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import STATUS, RegistryError
from p2p.core.oci.reference import validate_path, validate_tag
from p2p.core.oci.route import METHODS, ExtensionRoute, Route, parse_route

DESCRIPTION: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text())
PATHS: dict[str, Any] = DESCRIPTION["paths"]
VERBS = {"get", "head", "post", "put", "patch", "delete", "options", "trace"}
DIGEST = "sha256:" + "ab" * 32
EXAMPLES = {"name": "team/app", "digest": DIGEST, "reference": "v1", "session": "b1-2"}
COMMANDS_ONLY = {"TAG_INVALID", "PLATFORM_INVALID"}
"""Codes that no answer carries: see p2p.core.oci.error."""


def methods(path: str) -> set[str]:
    return {verb.upper() for verb in PATHS[path] if verb in VERBS}


def routes(path: str) -> dict[str, Route]:
    return {method: parse_route(method, path.format(**EXAMPLES), "") for method in methods(path)}


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(child) for child in node.values()))
    return set().union(*(references(child) for child in node)) if isinstance(node, list) else set()


def test_the_description_is_valid() -> None:
    schemathesis.openapi.from_dict(DESCRIPTION).validate()


def test_every_reference_leads_to_something_and_everything_is_referred_to() -> None:
    defined = {
        f"#/components/{kind}/{name}"
        for kind, entries in DESCRIPTION["components"].items()
        if kind != "securitySchemes"
        for name in entries
    }

    assert references(DESCRIPTION) == defined


@pytest.mark.parametrize("path", PATHS)
def test_each_path_is_read_as_one_kind_of_route(path: str) -> None:
    found = routes(path)

    (kind,) = {type(route) for route in found.values()}
    if kind is ExtensionRoute:
        assert found.keys() <= set(METHODS[kind])
    else:
        assert found.keys() == set(METHODS[kind])


def test_each_kind_of_route_is_described_once() -> None:
    described = defaultdict(list)
    for path in PATHS:
        described[type(routes(path)["GET" if "GET" in methods(path) else "POST"])].append(path)

    assert described.keys() == METHODS.keys()
    assert all(len(paths) == 1 for kind, paths in described.items() if kind is not ExtensionRoute)


@pytest.mark.parametrize("path", PATHS)
def test_the_parameters_of_a_path_are_those_in_it(path: str) -> None:
    parameters = DESCRIPTION["components"]["parameters"]
    shared = [
        parameters[p["$ref"].rpartition("/")[2]] if "$ref" in p else p
        for p in PATHS[path].get("parameters", ())
    ]

    assert {p["name"] for p in shared if p["in"] == "path"} == {
        name for name in EXAMPLES if f"{{{name}}}" in path
    }
    for query in ("ns=docker.io", "n=5&last=a", "artifactType=a/b"):
        name = query.partition("=")[0]
        if name in {p["name"] for p in shared}:
            parse_route("GET" if "GET" in methods(path) else "POST", path.format(**EXAMPLES), query)


def test_the_error_codes_are_ours() -> None:
    described = DESCRIPTION["components"]["schemas"]["ErrorCode"]["enum"]

    assert set(described) == STATUS.keys() - COMMANDS_ONLY


@pytest.mark.parametrize(
    ("schema", "validate", "good", "bad"),
    [
        ("Name", validate_path, ["a", "a/b", "a--b", "a__b/c.d"], ["A", "a..b", "a___b", "/a", "a/", "-a"]),
        ("Tag", validate_tag, ["1", "_", "v1.2-X", "a" * 128], ["", ".a", "-a", "a" * 129, "a:b"]),
        ("Digest", Digest.parse, [DIGEST, "sha512:" + "0" * 128], ["sha256:", DIGEST.upper(), DIGEST + "0"]),
        ("MediaType", validate_media_type, ["a/b", "application/x+json"], ["a", "a/", "a/b;c", "a/b c"]),
    ],
)
def test_the_patterns_are_the_grammars(
    schema: str, validate: Callable[[str], object], good: list[str], bad: list[str]
) -> None:
    pattern = re.compile(DESCRIPTION["components"]["schemas"][schema]["pattern"])
    for text in good:
        assert pattern.search(text)
        validate(text)
    for text in bad:
        assert not pattern.search(text)
        with pytest.raises(RegistryError):
            validate(text)
