"""The page for people: the OpenAPI description as one HTML file that needs nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from typing import Any

from edge_http.schemas import COMPONENTS, Schema

_VERBS = ("get", "post", "put", "patch", "delete")
_REFUSALS = re.compile(r"\s*(?:Fails with [A-Z_0-9, ]+(?:or [A-Z_0-9]+)?\.|It has no refusals of its own\.)")
_LIMITS: tuple[tuple[str, str, str], ...] = (
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "pairs"),
    ("minimum", "maximum", ""),
)
_WIDEST = {-(2**31), 2**31 - 1, 2**32 - 1}


def page(document: Schema, meanings: Mapping[str, str]) -> tuple[bytes, str]:
    """Return the page and its Content-Security-Policy; `meanings` says what each reason of a refusal means."""
    style, script = (_file(name) for name in ("docs.css", "docs.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    services = _by_service(document)
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">To the operations</a>
<div class="frame">
<nav aria-label="Operations">
<h1>{title}</h1>
<input id="filter" type="search" placeholder="Filter, press /" aria-label="Filter operations" autocomplete="off">
{"".join(_menu(name, operations) for name, (_, operations) in services.items())}
<div><h2>More</h2><ul><li><a href="#types">Types</a></li><li><a href="/openapi.json">openapi.json</a></li></ul></div>
</nav>
<main id="content">
<h1>{title}</h1>
<div class="lead">{_prose(document["info"]["description"])}
<p>In the examples <code>$TITAN</code> is the address of the edge and <code>$TITAN_CA</code> the file of its authority:
<code>edge</code> and <code>ca</code> in <code>endpoints.json</code>. <code>$TOKEN</code> is an access token.</p></div>
{"".join(_service(name, *found, meanings) for name, found in services.items())}
{_types(document["components"]["schemas"])}
</main>
</div>
<script>{script}</script>
</body>
</html>
"""
    return html.encode(), policy


Operation = tuple[str, str, Schema]
"""A verb, a path and the operation."""


def _by_service(document: Schema) -> dict[str, tuple[str, list[Operation]]]:
    found: dict[str, tuple[str, list[Operation]]] = {tag["name"]: (tag["description"], []) for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for verb in _VERBS:
            if verb in operations:
                found[operations[verb]["tags"][0]][1].append((verb, path, operations[verb]))
    return found


def _menu(name: str, operations: Iterable[Operation]) -> str:
    items = "".join(
        f'<li data-words="{_words(verb, path, each)}"><a href="#{each["operationId"]}">'
        f'<span class="verb {verb}">{verb.upper()}</span><span>{_breakable(path.removeprefix("/v1"))}</span></a></li>'
        for verb, path, each in operations
    )
    return f"<div data-group><h2>{escape(_spaced(name))}</h2><ul>{items}</ul></div>"


def _service(name: str, text: str, operations: Iterable[Operation], meanings: Mapping[str, str]) -> str:
    cards = "".join(_operation(verb, path, each, meanings) for verb, path, each in operations)
    return (
        f'<section class="service" id="{escape(name)}" data-group><h2>{escape(_spaced(name))}</h2>'
        f"<p>{escape(text)}</p>{cards}</section>"
    )


def _operation(verb: str, path: str, operation: Schema, meanings: Mapping[str, str]) -> str:
    parts = [
        f'<article id="{operation["operationId"]}" data-words="{_words(verb, path, operation)}">',
        f'<div class="line"><span class="verb {verb}">{verb.upper()}</span><h3>{_breakable(path)}</h3>',
        f'<span class="chip access">{escape(_access(operation["x-titan-access"]))}</span></div>',
        _prose(_REFUSALS.sub("", operation["description"])),
    ]
    rows = [
        _row(each["name"], each["schema"], each.get("description", ""), must=each["required"], where=each["in"])
        for each in operation.get("parameters", ())
    ]
    if rows:
        parts.append(f"<h4>Parameters</h4><table>{''.join(rows)}</table>")
    body = operation.get("requestBody", {}).get("content", {})
    for media, content in body.items():
        table = _properties(content["schema"])
        parts.append(f"<h4>Body, {escape(media)}</h4>{table or _type(content['schema'])}")
    answer = operation["responses"]["200"]
    parts.append(f"<h4>Answer</h4><p>{escape(answer['description'])} {_answer_type(answer)}</p>")
    if operation["x-titan-refusals"]:
        chips = "".join(
            f'<span class="chip refusal" title="{escape(meanings.get(reason, ""))}">{escape(reason)}</span>'
            for reason in operation["x-titan-refusals"]
        )
        parts.append(f'<h4>Refuses with</h4><div class="chips">{chips}</div>')
    parts.append(f"<details><summary>Example</summary>{_example(verb, path, operation)}</details></article>")
    return "".join(parts)


def _answer_type(answer: Schema) -> str:
    for media, content in answer["content"].items():
        shown = content.get("x-titan-event", content["schema"])
        return f"{_type(shown)} <code>{escape(media)}</code>" if media != "application/json" else _type(shown)
    return ""


def _example(verb: str, path: str, operation: Schema) -> str:
    url = path
    words = ["curl", "--cacert", '"$TITAN_CA"']
    if verb != "get":
        words += ["-X", verb.upper()]
    lines: list[str] = []
    if operation["security"][0]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            url = url.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        elif parameter["in"] == "header" and parameter["required"]:
            lines.append(f"-H '{parameter['name']}: {parameter.get('example', '...')}'")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        if media == "application/json":
            lines.append("-H 'Content-Type: application/json'")
            quoted = json.dumps(content["example"], indent=2, ensure_ascii=False).replace("'", "'\\''")
            lines.append(f"-d '{quoted}'")
        else:
            lines.append("--data-binary @file")
    command = " \\\n  ".join([f'{" ".join(words)} "$TITAN{url}"', *lines])
    parts = [f"<pre>{escape(command)}</pre>"]
    for content in operation["responses"]["200"]["content"].values():
        if "example" in content:
            parts.append(f"<pre>{escape(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre>")
    return "".join(parts)


def _types(components: Schema) -> str:
    cards = "".join(
        f'<article id="{escape(name)}" data-words="{escape(name.lower())}"><div class="line">'
        f"<h3>{escape(name)}</h3></div>{_prose(schema.get('description', ''))}"
        f"{_properties(schema) or '<p>It has no fields.</p>'}</article>"
        for name, schema in components.items()
    )
    return (
        '<section class="service types" id="types" data-group><h2>Types</h2>'
        f"<p>What bodies are made of.</p>{cards}</section>"
    )


def _properties(schema: Schema) -> str:
    required = set(schema.get("required", ()))
    rows = [
        _row(name, inner, inner.get("description", ""), must=name in required)
        for name, inner in schema.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _row(name: str, schema: Schema, text: str, *, must: bool, where: str = "") -> str:
    limits = "; ".join(_limits(schema))
    return (
        f"<tr><td><code>{escape(name)}</code>{' <span class=must>required</span>' if must else ''}</td>"
        f"<td>{_type(schema)}{f' in {escape(where)}' if where else ''}"
        f"{f'<div class=limits>{limits}</div>' if limits else ''}</td><td>{_inline(text)}</td></tr>"
    )


def _type(schema: Schema) -> str:
    reference = schema.get("$ref", "")
    if reference:
        name = reference.removeprefix(COMPONENTS)
        return f'<a href="#{escape(name)}">{escape(name.rpartition(".")[2])}</a>'
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    inner = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(inner, dict):
        return f"object of {_type(inner)}"
    kind = schema.get("type", "any value")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    form = schema.get("format", "")
    return escape(f"{kind} ({form})" if form and form != "int32" else kind)


def _limits(schema: Schema) -> list[str]:
    """Return the limits of a value as HTML, one sentence's part each."""
    found: list[str] = []
    for low, high, unit in _LIMITS:
        least, most = schema.get(low), schema.get(high)
        least = None if least in _WIDEST or (least == 0 and unit) else least
        most = None if most in _WIDEST else most
        if least is not None and most is not None:
            found.append(f"{least:,} to {most:,} {_counted(unit, most)}".strip())
        elif most is not None:
            found.append(f"at most {most:,} {_counted(unit, most)}".strip())
        elif least is not None:
            found.append(f"at least {least:,} {_counted(unit, least)}".strip())
    if schema.get("uniqueItems"):
        found.append("no two alike")
    if "enum" in schema:
        found.append(" ".join(f"<code>{escape(str(word))}</code>" for word in schema["enum"]))
    if "pattern" in schema and schema.get("format") not in ("int64", "uint64", "duration"):
        found.append(f"<code>{escape(schema['pattern'])}</code>")
    if schema.get("type") == "array" and "$ref" not in schema["items"]:
        found += [f"each {limit}" for limit in _limits(schema["items"])]
    return found


def _counted(unit: str, number: float) -> str:
    return unit.removesuffix("s") if number == 1 else unit


def _access(access: str) -> str:
    if access.startswith("roles("):
        return f"roles: {access[6:-1]}"
    return {"public": "anybody", "customer": "signed in, guests too"}.get(access, access)


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(' '.join(part.split()))}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _breakable(path: str) -> str:
    return re.sub(r"([/:])", r"<wbr>\1", escape(path))


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Service"))


def _words(verb: str, path: str, operation: Schema) -> str:
    found: list[Any] = [verb, path, operation["operationId"], operation["summary"], operation["x-titan-access"]]
    return escape(" ".join([*found, *operation["x-titan-refusals"]]).lower())


def _file(name: str) -> str:
    return (resources.files("edge_http") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
