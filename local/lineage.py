"""The number of times one chain of requests has invoked a function, counted in the trace header as Lambda counts.

Lambda adds the count to `X-Amzn-Trace-Id` (`Lineage=`), the AWS SDK sends that header on, and SQS keeps it with the
message as `AWSTraceHeader`. X-Ray need not be on. After 16 invocations of one function Lambda stops the chain, unless
the function's RecursiveLoop is Allow.

Source: AWS Lambda Developer Guide, "Use Lambda recursive loop detection to prevent infinite loops".
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

LONGEST_CHAIN: Final = 16

_ENTRY: Final = re.compile(r"\d+:([0-9a-f]{8}):(\d+)")


@dataclass(frozen=True, slots=True)
class Lineage:
    """The functions of a chain of requests.

    Attributes:
        root: The part of the header that names the chain.
        counts: How often each function was invoked, by a hash of its name.
    """

    root: str
    counts: Mapping[str, int]

    @classmethod
    def parse(cls, header: str) -> "Lineage":
        """Read a trace header; an empty one starts a new chain."""
        parts = [part.strip() for part in header.split(";")]
        fields = dict(part.split("=", 1) for part in parts if "=" in part)
        root = fields.get("Root") or f"1-{int(time.time()):08x}-{uuid4().hex[:24]}"
        return cls(root, {name: int(count) for name, count in _ENTRY.findall(fields.get("Lineage", ""))})

    def count(self, function: str) -> int:
        """Return how often this chain has invoked a function."""
        return self.counts.get(_hash(function), 0)

    def invoking(self, function: str) -> "Lineage":
        """Return the chain with one more invocation of a function."""
        return Lineage(self.root, {**self.counts, _hash(function): self.count(function) + 1})

    def as_header(self) -> str:
        """Return the trace header."""
        lineage = "|".join(f"1:{name}:{count}" for name, count in self.counts.items())
        return f"Root={self.root};Sampled=0" + (f";Lineage={lineage}" if lineage else "")


def _hash(function: str) -> str:
    return hashlib.sha256(function.encode()).hexdigest()[:8]
