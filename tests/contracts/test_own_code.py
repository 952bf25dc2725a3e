"""What the code of the services never does, read from its syntax: no server, no process, milliseconds.

The page that holds Titan against the ASVS names these where nothing else could show a "never".
"""

from __future__ import annotations

import ast
import base64
from collections.abc import Iterator
from pathlib import Path

from svc_auth.auth.tokens import new_refresh_token
from svc_auth.factor import rules as factor_rules
from svc_auth.link import rules as link_rules
from tests.contracts.reading import methods

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    file
    for package in ("mesh", "edge_http", *sorted(each.name for each in ROOT.glob("svc_*")))
    for file in sorted((ROOT / package).rglob("*.py"))
]
"""What runs where strangers' input arrives."""

STARTS_PROGRAMS = {"subprocess", "pty", "multiprocessing", "os.system", "os.popen", "os.fork", "os.startfile"}
STARTING = ("os.exec", "os.spawn", "os.posix_spawn")
HASHES = {"sha256", "sha512", "blake2b", "SHA256", "SHA384", "SHA512"}


def trees() -> Iterator[tuple[str, ast.AST]]:
    """Return every file with its syntax."""
    for file in FILES:
        yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def names_of(tree: ast.AST) -> set[str]:
    """Return what a file imports, and every dotted name that it speaks."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
    return found


def programs_in(tree: ast.AST) -> set[str]:
    """Return what a file could start another program with."""
    return {
        name
        for name in names_of(tree)
        if name in STARTS_PROGRAMS
        or name.partition(".")[0] in STARTS_PROGRAMS
        or name.startswith(STARTING)
        or "create_subprocess" in name
    }


def run_texts_in(tree: ast.AST) -> list[str]:
    """Return the calls of a file that run a text as code."""
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [name for name in called if name in ("eval", "exec", "compile", "__import__")]


def ciphers_in(tree: ast.AST) -> set[str]:
    """Return what of the ciphers of the library a file takes."""
    hazmat = "cryptography.hazmat.primitives"
    inside = (f"{hazmat}.ciphers", f"{hazmat}.padding", f"{hazmat}.asymmetric.padding")
    names = names_of(tree)
    # Of a module and a name in it, the name.
    return {
        name for name in names if name.startswith(inside) and not any(other.startswith(f"{name}.") for other in names)
    }


def hashes_in(tree: ast.AST) -> set[str]:
    """Return the hash functions that a file takes."""
    taken = set()
    for name in names_of(tree):
        module, _, function = name.rpartition(".")
        if module in ("hashlib", "hashes", "cryptography.hazmat.primitives.hashes") and function != "HashAlgorithm":
            taken.add(function)
    return taken


def test_no_service_starts_a_program() -> None:
    """So no input becomes a part of a command."""
    assert programs_in(ast.parse("import subprocess")) and programs_in(ast.parse("os.execve('sh', [], {})"))
    assert programs_in(ast.parse("asyncio.create_subprocess_shell('ls')"))

    assert {} == {name: found for name, tree in trees() if (found := programs_in(tree))}


def test_one_text_is_run_as_code_and_it_is_made_of_the_contract() -> None:
    """The writer of JSON compiles what it has put together of names of messages and fields, and of nothing else."""
    assert ["eval"] == run_texts_in(ast.parse("eval(input())"))

    found = {name: texts for name, tree in trees() if (texts := run_texts_in(tree))}
    assert {"edge_http/json_writer.py"} == set(found), found


def test_what_is_encrypted_is_encrypted_with_aes_in_gcm() -> None:
    """No other cipher, no mode that has to be chosen, no padding."""
    modes = "from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes"
    assert 3 == len(ciphers_in(ast.parse(modes)))

    found = {name: taken for name, tree in trees() if (taken := ciphers_in(tree))}
    assert {"mesh/vault/master_keys.py", "mesh/vault/vault.py", "svc_auth/sealing.py"} == set(found)
    assert {"cryptography.hazmat.primitives.ciphers.aead.AESGCM"} == set().union(*found.values())


def test_hash_functions_are_of_the_second_family_and_later() -> None:
    """But for the codes of authenticators, which the page names."""
    assert {"md5"} == hashes_in(ast.parse("import hashlib\nhashlib.md5(b'')"))

    found = {name: weak for name, tree in trees() if (weak := hashes_in(tree) - HASHES)}
    assert {"svc_auth/factor/rules.py": {"SHA1"}} == found


def test_what_stands_for_somebody_has_128_random_bits_and_more() -> None:
    """Refresh tokens, links, secrets of authenticators and recovery codes; of the system's generator, never of the one
    for simulations."""
    tokens = {new_refresh_token() for _ in range(100)}
    decoded = [base64.urlsafe_b64decode(f"{token}=") for token in tokens]

    assert 100 == len(tokens) and {32} == {len(each) for each in decoded}
    assert all(len({each[place] for each in decoded}) > 50 for place in range(32)), "each byte is random"
    assert link_rules.TOKEN_BYTES >= 32 and factor_rules.SECRET_BYTES >= 20
    assert [] == [name for name, tree in trees() if name.startswith("svc_auth/") and "random" in names_of(tree)]


def test_nobody_is_asked_for_a_hint_or_a_secret_question() -> None:
    """No request about users has a field for one."""
    fields = {
        f"{method.full_name}: {field.name}"
        for method in methods()
        if method.full_name.startswith("titan.auth.")
        for field in method.request_class.DESCRIPTOR.fields
    }
    assert any(each.endswith(": password") for each in fields)
    assert [] == [each for each in fields if any(word in each for word in ("hint", "question", "memorable"))]
