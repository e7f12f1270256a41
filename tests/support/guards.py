"""Takes guards out, one at a time, and looks whether the tests miss them.

`tests/guards.toml` says for each bug what keeps it out (a text of a file), what the code would be without
(another text), and which tests must then fail. `make guards` tries all of them on a copy of the tree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parent.parent.parent
TABLE = ROOT / "tests" / "guards.toml"
COPIED = ("p2p", "tracker", "tests", "bench", "docs", "pyproject.toml", "README.md", "Makefile")
SECONDS = 300
FAILED = 1
"""Pytest's exit status where tests ran and failed; an error in collecting them is another."""
_REASON = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Guard:
    bug: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def without(self, text: str) -> str:
        """The file's text with the guard taken out; ValueError where the guard is not there, or not once."""
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.bug}: {self.file} has the guard's text {count} times")
        return text.replace(self.old, self.new)


def load() -> list[Guard]:
    table = tomllib.loads(TABLE.read_text())
    return [Guard(**{**one, "tests": tuple(one["tests"])}) for one in table["guard"]]


def missed(tree: Path, guard: Guard) -> str | None:
    """Take the guard out of a copy of the tree and run its tests; how they failed, None where they pass."""
    path = tree / guard.file
    whole = path.read_text()
    path.write_text(guard.without(whole))
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *guard.tests],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        path.write_text(whole)
    if ran.returncode == 0:
        return None
    if ran.returncode != FAILED:
        raise RuntimeError(f"{guard.bug}: the tests did not run\n{ran.stdout}\n{ran.stderr}")
    found = _REASON.search(ran.stdout)
    assert found is not None, ran.stdout
    return f"{found[1].rpartition('::')[2]}: {found[2] or 'an error'}"


def main(wanted: list[str]) -> int:
    guards = [g for g in load() if not wanted or any(w in g.bug or w in g.file for w in wanted)]
    trees: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory(prefix="guards-") as directory:
        for number in range(os.cpu_count() or 1):
            tree = Path(directory, str(number))
            tree.mkdir()
            for name in COPIED:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(source, tree)
            trees.put(tree)

        def attempt(guard: Guard) -> str | None:
            tree = trees.get()
            try:
                return missed(tree, guard)
            finally:
                trees.put(tree)

        unmissed = 0
        with ThreadPoolExecutor(trees.qsize()) as pool:
            for guard, how in zip(guards, pool.map(attempt, guards), strict=True):
                unmissed += how is None
                print(
                    f"{'NOT MISSED' if how is None else 'missed    '}  {guard.bug}  [{how or guard.file}]",
                    flush=True,
                )
    print(f"{len(guards)} guards taken out one by one, {unmissed} not missed by the tests")
    return 1 if unmissed or not guards else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
