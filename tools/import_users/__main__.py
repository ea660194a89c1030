"""`make import STAGE=... FILE=users.csv`: adopt connections that users have made at Terra before this stack existed.

First it writes a plan: what would happen to each row. It stores nothing until you confirm, or set APPLY=1. Each
connection is confirmed by Terra before it is stored. A repeat is safe and continues: docs/moving-in.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from terra_connections.connections.store import ConnectionStore
from terra_connections.errors import Misconfigured, RetryLater, TerraConnectionsError, TerraRejected
from terra_connections.ids import UserId
from terra_connections.secret import Secret
from terra_connections.terra import transport
from terra_connections.terra.client import TerraClient
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tools.doctor.stack import Stack, deployed
from tools.environment import ROOT
from tools.import_users.adoption import ASK_WITHIN, Adoption, Patience, listed_by_terra
from tools.import_users.report import Report
from tools.import_users.row import Result
from tools.import_users.users_file import UsersFile
from tools.progress import say
from tools.stages import AWS_ERRORS, StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tools.import_users.row import Row

INTERRUPTED = 130
_SHOWN_FAULTS = 10


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        stack: the stack to import into.
        terra: Terra's API, with the stack's own key.
        connections: its store of connections.
        users: its store of users.
        file: the rows; None to import Terra's own list.
        reports: the folder of the reports.
        scale: multiplies each wait.
    """

    stack: Stack
    terra: TerraClient
    connections: ConnectionStore
    users: UserStore
    file: UsersFile | None
    reports: Path
    scale: float = 1.0

    def run(self, *, is_plan: bool) -> int:
        """Process every row, print the counts, and return the number of connections that were, or would be, adopted.

        Raises:
            StageError: the import cannot go on. What was stored stays.
        """
        patience = Patience(scale=self.scale)
        adoption = Adoption(
            self.terra, connections=self.connections, users=self.users, patience=patience, is_plan=is_plan
        )
        name = f"{self.stack.stage}-{'plan' if is_plan else 'import'}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        rows: Iterable[Row] = self._listed(patience) if self.file is None else self.file
        count = None if self.file is None else len(self.file)
        what = "plan" if is_plan else "import"
        of = "Terra's list" if count is None else counted(count, "row")
        say(f"Making the {what} for {self.stack.name}, of {of} ...")
        with Report(self.reports, name, rows=count) as report:
            is_whole = False
            try:
                with closing(adoption.results(rows)) as results:
                    for row, outcome in results:
                        report.add(row, outcome)
                is_whole = True
            finally:
                state = "is complete" if is_whole else "stopped early"
                say(f"The {what} {state}: {counted(report.counts.total(), 'row')}.")
                for line in report.lines():
                    say(line)
                say(f"Report: {report.path}")
            return report.counts[Result.TO_ADOPT if is_plan else Result.ADOPTED]

    def check_credentials(self) -> None:
        """Check that Terra accepts the stack's key.

        Raises:
            StageError: Terra rejects it, or does not answer.
        """
        unknown = UserId(str(uuid4()))
        try:
            Patience(scale=self.scale).call(lambda: self.terra.user_info(unknown, within=ASK_WITHIN))
        except (TerraRejected, Misconfigured) as error:
            message = (
                f"Terra cannot be called with the key of {self.stack.name}: {error} "
                f"Store the right one: make secrets STAGE={self.stack.stage}"
            )
            raise StageError(message) from error
        except RetryLater as error:
            message = f"{self.stack.parameters['TerraApiUrl']}: {error} Repeat the command later."
            raise StageError(message) from error

    def _listed(self, patience: Patience) -> Iterator[Row]:
        try:
            yield from listed_by_terra(self.terra, patience)
        except TerraConnectionsError as error:
            message = f"Terra's list of users cannot be read: {error} Repeat the command: it continues."
            raise StageError(message) from error


@contextmanager
def opened(stack: Stack, file: UsersFile | None, reports: Path, *, scale: float = 1.0) -> Iterator[Import]:
    """Create the clients of an import into a stack, and close them afterwards."""
    missing = [name for name in ("ConnectionsTable", "SessionsTable", "PseudonymKeyArn") if name not in stack.outputs]
    if missing:
        message = f"The stack {stack.name} has no output {missing[0]}: make deploy STAGE={stack.stage}"
        raise StageError(message)
    secrets, dynamodb = stack.client("secretsmanager"), stack.client("dynamodb")
    key = json.loads(secrets.get_secret_value(SecretId=stack.outputs["PseudonymKeyArn"])["SecretString"])["key"]
    users = UserStore(
        dynamodb,
        connections_table=stack.outputs["ConnectionsTable"],
        sessions_table=stack.outputs["SessionsTable"],
        pseudonyms=Pseudonyms(key),
    )
    secret = Secret(secrets, stack.outputs["TerraSecretArn"])
    with transport.client() as http:
        terra = TerraClient(
            http,
            api_url=stack.parameters["TerraApiUrl"],
            widget_url=stack.parameters["TerraWidgetUrl"],
            dev_id=stack.parameters["TerraDevId"],
            api_key=lambda: secret.value("api_key"),
        )
        connections = ConnectionStore(dynamodb, stack.outputs["ConnectionsTable"], users=users)
        yield Import(stack, terra, connections, users, file, reports, scale)


def main(arguments: Sequence[str] | None = None) -> int:
    """Import users with the operator's AWS credentials."""
    parser = argparse.ArgumentParser(prog="make import", description=__doc__)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--file", type=Path, help="a CSV file; without it, the users that Terra lists are imported")
    parser.add_argument("--apply", action="store_true", help="store without a plan and without a question")
    parser.add_argument("--reports", type=Path, default=ROOT / "build" / "import", help="the folder of the reports")
    parser.add_argument("--samconfig", type=Path, default=ROOT / "samconfig.toml")
    options = parser.parse_args(arguments)
    try:
        file = None if options.file is None else UsersFile(options.file.expanduser())
        if file is not None:
            _print_faults(options.file.name, file)
        with opened(deployed(options.stage, options.samconfig), file, options.reports) as one:
            one.check_credentials()
            if options.apply or _is_confirmed(one, options):
                one.run(is_plan=False)
                say("Next: start a sweep, which compares the result with Terra's list (docs/moving-in.md).")
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except TerraConnectionsError as error:
        sys.stderr.write(f"{error} Repeat the command: it continues.\n")
        return 1
    except AWS_ERRORS as error:
        sys.stderr.write(f"AWS rejected the request: {one_line(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. The same command continues: what is stored is already known then.\n")
        return INTERRUPTED
    return 0


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _print_faults(name: str, file: UsersFile) -> None:
    faulty = file.faulty()
    for row in itertools.islice(faulty, _SHOWN_FAULTS):
        say(f"{name}: line {row.line}: {row.outcome.detail if row.outcome else ''}")
    if more := sum(1 for _ in faulty):
        say(f"{name}: {counted(more, 'more row')} malformed or in conflict: the report has them.")


def _is_confirmed(one: Import, options: argparse.Namespace) -> bool:
    """Make the plan, and ask whether to store."""
    count = one.run(is_plan=True)
    if not count:
        say("There is nothing to store.")
        return False
    if sys.stdin.isatty():
        question = f"Store {counted(count, 'connection')} in {one.stack.name}? [y/N] "
        try:
            is_confirmed = input(question).strip().lower() in {"y", "yes"}
        except EOFError:
            is_confirmed = False
    else:
        is_confirmed = False
    if not is_confirmed:
        file = f" FILE={options.file}" if options.file else ""
        say(f"Nothing was stored. To store: make import STAGE={one.stack.stage}{file} APPLY=1")
    return is_confirmed


if __name__ == "__main__":
    raise SystemExit(main())
