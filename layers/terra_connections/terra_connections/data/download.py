"""A payload on its way from its URL to the bucket: in a temporary file, not in the memory, and with its facts.

The key and the metadata of its object contain facts, so that the object cannot be written before the end of the payload
is known. A payload that is incomplete, or too large, is therefore never visible in the bucket.
"""

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from terra_connections.data.outline import Outline
from terra_connections.data.payload import Payload, payload_from

_IN_MEMORY = 1_000_000  # bytes; most payloads are smaller and are never written to a disk
_FASTEST = 1


@dataclass(frozen=True, slots=True)
class Download:
    """A complete payload.

    Attributes:
        file: the body, compressed with gzip. It is closed at the end of `downloaded`.
        payload: the facts about the body.
    """

    file: IO[bytes]
    payload: Payload


@contextmanager
def downloaded(parts: Iterable[bytes]) -> Iterator[Download]:
    """Receive a payload.

    Raises:
        NotFetched: as `parts`, or the payload has too many records.
    """
    outline, digest, size = Outline(), hashlib.sha256(), 0
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_FASTEST, fileobj=file, mtime=0) as archive:
            for part in parts:
                archive.write(part)
                digest.update(part)
                outline.feed(part)
                size += len(part)
        file.seek(0)
        payload = payload_from(outline.content(), size=size, sha256=digest.hexdigest())
        yield Download(cast("IO[bytes]", file), payload)
