"""Imports a file of many users, with a Terra and a table that answer at once, and prints the peak memory as JSON.

python -m tests.support.import_stub ROWS FOLDER
"""

import json
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from terra_connections.connections.facts import Facts
from terra_connections.ids import ReferenceId, UserId
from terra_connections.terra.models import UserInfo
from terra_connections.users.store import Standing
from tools.import_users.__main__ import Import
from tools.import_users.users_file import UsersFile


class Terra:
    """Confirms every user."""

    def user_info(self, user_id: UserId, *, within: timedelta) -> UserInfo:
        del within
        reference_id = ReferenceId(user_id.replace("user", "reference"))
        return UserInfo(user_id, is_authenticated=True, provider="FITBIT", reference_id=reference_id, scopes=None)


class Connections:
    """Knows no user, and keeps none."""

    def read_with_erased(self, user_ids: Iterable[UserId]) -> tuple[list[Facts], set[UserId]]:
        del user_ids
        return [], set()

    def record(self, new_facts: Sequence[Facts]) -> list[Facts]:
        return list(new_facts)


class Users:
    """No user was erased."""

    def standing(self, reference_id: ReferenceId, *, now: datetime) -> Standing:
        del reference_id, now
        return Standing(None, (), ())


@dataclass(frozen=True)
class Stack:
    """The names that an import prints."""

    name: str = "stub"
    stage: str = "stub"


def main(rows: int, folder: Path) -> None:
    file = folder / "users.csv"
    with file.open("w") as lines:
        lines.write("user_id,reference_id\n")
        lines.writelines(f"user-{number:08d},reference-{number:08d}\n" for number in range(rows))
    stubs: dict[str, Any] = {"stack": Stack(), "terra": Terra(), "connections": Connections(), "users": Users()}
    stored = Import(**stubs, file=UsersFile(file), reports=folder).run(is_plan=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"stored": stored, "peak": peak if sys.platform == "darwin" else peak * 1024}))  # noqa: T201 - the result


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
