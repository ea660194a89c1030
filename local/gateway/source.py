"""Whether a function's source has changed since a process loaded it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint(folders: Iterable[Path]) -> Fingerprint:
    """Path, modification time and size of every file in the folders: any edit, addition or removal changes it."""
    return frozenset(entry for folder in folders for entry in _files(folder))


def _files(folder: str | Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__pycache__" or entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    yield from _files(entry.path)
                else:
                    status = entry.stat()
                    yield entry.path, status.st_mtime_ns, status.st_size
            except FileNotFoundError:
                continue  # an editor's temporary file that has just been removed
