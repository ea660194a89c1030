"""Tables to measure on, in addition to a running stack's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local import database
from tools.environment import ROOT

if TYPE_CHECKING:
    from local.testing import Stack


def make_tables(stack: Stack, suffix: str) -> dict[str, str]:
    """Create the template's tables under other names; return the names by logical id.

    Without the stream, because it has no reader, and publishing would be other work on the same machine.
    """
    declared = database.declared_tables(ROOT / "template.yaml")
    named = {
        f"{name}{suffix}": {part: value for part, value in properties.items() if part != "StreamSpecification"}
        for name, properties in declared.items()
    }
    asyncio.run(database.make_tables(stack.dynamodb_url, named))
    return {name.lower(): f"{name}{suffix}" for name in declared}
