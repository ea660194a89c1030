"""Serve MiniStack behind the guard: `python -m local.ministack_server PORT`, under the Python of its own environment.

MiniStack responds to every page (`Access-Control-Allow-Origin: *`) and every Host, and has no setting for either. It is
an ASGI application, which its own program also serves with hypercorn.
"""

from __future__ import annotations

import asyncio
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app

from terra_simulator.origin_guard import OriginGuard

KEEP_ALIVE = 75  # seconds, as in MiniStack's own program: longer than clients keep idle connections


def main() -> None:
    """Serve on the loopback address until a signal ends it."""
    config = Config()
    config.bind = [f"127.0.0.1:{int(sys.argv[1])}"]
    config.keep_alive_timeout = KEEP_ALIVE
    asyncio.run(serve(OriginGuard(app), config))


if __name__ == "__main__":
    main()
