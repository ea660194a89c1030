"""A simulator for tests, in a process of its own: the pytest fixture `terra`, and `simulator()` for other frameworks.

with simulator() as terra:
terra.send_to("http://127.0.0.1:5000/terra")
terra.connect("alice", "GARMIN")
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from terra_simulator.control_client import ControlClient, ControlError, Delivery
from terra_simulator.settings import DEFAULT_DEV_ID, Credentials, environment_of_child

SOURCES: Final = Path(__file__).parents[1]
_END_S: Final = 30.0
_POLL_S: Final = 0.02
_MONTH_DAYS: Final = 33
"""A request for so many days is always longer than a calendar month, which makes it a large one."""


class SimulatorError(Exception):
    """The simulator did not start, or webhooks did not arrive in time."""


@dataclass(frozen=True)
class Connection:
    """One connection of a user: Terra's `user_id`."""

    user_id: str
    reference_id: str | None
    provider: str
    deliveries: tuple[Delivery, ...] = ()
    """The webhooks of connecting."""


User = str | Connection
"""A reference_id, which stands for the user's newest connection, or a connection."""


class Mode:
    """A behaviour of webhooks that has begun. As a context manager it ends with the block."""

    def __init__(self, terra: "Terra", changes: Mapping[str, object], *, released: str | None = None) -> None:
        self._terra = terra
        self._released = released
        self._before = {name: terra.settings()[name] for name in changes}
        terra.set(**changes)

    def __enter__(self) -> None:
        if self._released:
            self._terra.hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terra.set(**self._before)
        if self._released:
            self._terra.release(self._released)


class Time:
    """The simulator's clock. It runs like the real one until a test moves or stops it."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    def now(self) -> datetime:
        """Return the time."""
        return datetime.fromisoformat(self._client.call("GET", "/time")["now"])

    def stop(self, at: datetime | None = None) -> None:
        """Stop the clock, at another time if one is given. From then on every event moves it by a millisecond."""
        fields = {} if at is None else {"at": at.isoformat()}
        self._client.call("POST", "/time", {"stopped": True, **fields})

    def run(self) -> None:
        """Let time pass again, from the current time on."""
        self._client.call("POST", "/time", {"stopped": False})

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Let time pass at once, wait for the webhooks that become due meanwhile, and return the time."""
        moved = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        answer = self._client.call("POST", "/time", {"advance_s": moved.total_seconds()})
        return datetime.fromisoformat(answer["now"])


class Terra:
    """A running simulator, and what happens in it."""

    def __init__(self, client: ControlClient, *, dev_id: str, credentials: Credentials) -> None:
        self.url = client.url
        self.api_url = f"{client.url}/api/v2"
        """What takes the place of https://api.tryterra.co/v2."""
        self.dev_id = dev_id
        self.api_key = credentials.api_key
        self.signing_secret = credentials.signing_secret
        self.time = Time(client)
        self.control = client
        """Every call of the control API, which the package's docstring lists."""

    # -- webhooks --------------------------------------------------------------------------------------------------

    def send_to(self, url: str) -> None:
        """Send webhooks to this URL."""
        self.set(webhook_url=url)

    def deliveries(self, event_type: str | None = None, *, state: str | None = None) -> list[Delivery]:
        """Return every webhook, oldest first; those of one type or state if one is given."""
        found = [Delivery.of(each) for each in self.control.call("GET", "/deliveries")]
        return [each for each in found if event_type in {None, each.event_type} and state in {None, each.state}]

    def settle(self, *, seconds: float = 10.0) -> list[Delivery]:
        """Wait until every webhook was attempted once, and return all.

        The methods that cause webhooks do so themselves. Use it after a call of your back end that causes some, such as
        a disconnect.
        """
        deadline = time.monotonic() + seconds
        while waiting := [each for each in self.deliveries(state="pending") if not each.attempts]:
            if time.monotonic() > deadline:
                message = f"not attempted within {seconds} s: {', '.join(str(each) for each in waiting)}"
                raise SimulatorError(message)
            time.sleep(_POLL_S)
        return self.deliveries()

    def reorder(self, order: Literal["reversed", "shuffled"] = "reversed") -> Mode:
        """Send the webhooks of each call in another order, from now on.

        In a `with` block the webhooks of all its calls are held and sent at its end, in another order.
        """
        return Mode(self, {"webhook_order": order}, released="reverse" if order == "reversed" else order)

    def duplicate(self, copies: int = 2) -> Mode:
        """Send every webhook several times."""
        return Mode(self, {"webhook_copies": copies})

    def lose(self, share: float = 1.0) -> Mode:
        """Lose webhooks: all, or a share of them."""
        return Mode(self, {"webhook_loss": share})

    def delay(self, seconds: float) -> Mode:
        """Send every webhook so much later. If time is stopped, `time.advance` sends them."""
        return Mode(self, {"webhook_delay_s": seconds})

    def hold(self) -> None:
        """Hold every webhook from now on."""
        self.control.call("POST", "/hold")

    def release(self, order: str = "fifo") -> list[Delivery]:
        """Send the held webhooks, and wait for the first attempts: fifo, reverse or shuffled."""
        return [Delivery.of(each) for each in self.control.call("POST", "/release", {"order": order})]

    def retry_now(self) -> list[Delivery]:
        """Attempt every failed webhook again."""
        return [Delivery.of(each) for each in self.control.call("POST", "/retry_now")]

    # -- users -----------------------------------------------------------------------------------------------------

    def connect(self, reference_id: str | None = "alice", provider: str = "FITBIT", **fields: object) -> Connection:
        """Connect a user without a browser, and wait for the `auth` webhook's first attempt.

        Args:
            reference_id: the user's id in your app; None connects a user without one.
            provider: such as GARMIN.
            fields: account, user_id, silent: see `POST /_control/users`.
        """
        answer = self.control.call("POST", "/users", {"reference_id": reference_id, "provider": provider, **fields})
        return _connection(answer)

    def login(self, auth_url: str, *, allow: bool = True, account: str | None = None) -> str | None:
        """Finish a login that your back end started, as the user does in a browser.

        Args:
            auth_url: of the response to authenticateUser.
            allow: False cancels the login.
            account: the user's account at the provider.

        Returns:
            Where the browser is redirected to, after the webhook's first attempt.
        """
        form = {"decision": "allow" if allow else "deny", **({"account": account} if account else {})}
        response = self.control.submit(auth_url, form)
        if response.is_error:
            message = f"{auth_url} is not a login of this simulator (response {response.status_code})"
            raise ControlError(message)
        self.settle()
        location: str | None = response.headers.get("location")
        return location

    def reconnect(self, user: User) -> Connection:
        """Connect the same account again: a new user_id replaces the old one (`auth` and `user_reauth`)."""
        return _connection(self.control.call("POST", f"/users/{self._user_id(user)}/reauth"))

    def trigger(self, event_type: str, user: User, **fields: object) -> list[Delivery]:
        """Let an event of a connection occur: deauth, access_revoked, permission_change, connection_error.

        `fields` are added to the webhook's body.
        """
        body = {"type": event_type, **fields}
        return self._deliveries_of("POST", f"/users/{self._user_id(user)}/events", body)

    def users(self) -> list[dict[str, Any]]:
        """Return every connection that Terra has, also unfinished ones."""
        found: list[dict[str, Any]] = self.control.call("GET", "/users")
        return found

    # -- data ------------------------------------------------------------------------------------------------------

    def send(self, event_type: str, user: User, **fields: object) -> list[Delivery]:
        """Send generated data of a type, or of `all` types.

        `fields` are those of `POST /_control/users/{user_id}/data`: date, days, samples, corrections, values, size.
        """
        sent = {name: value.isoformat() if isinstance(value, date) else value for name, value in fields.items()}
        return self._deliveries_of("POST", f"/users/{self._user_id(user)}/data", {"type": event_type, **sent})

    def chunks(self, count: int, user: User | None = None, *, event_type: str = "daily") -> list[Delivery]:
        """Send a large request's announcements and so many chunks, of the newest connection unless one is named.

        `reorder()` and `duplicate()` apply to them.
        """
        days_per_chunk = max(1, -(-_MONTH_DAYS // count))
        last = self.time.now().date()
        first = last - timedelta(days=count * days_per_chunk - 1)
        period = {"type": event_type, "start_date": first.isoformat(), "end_date": last.isoformat()}
        with Mode(self, {"chunk_days": days_per_chunk}):
            return self._deliveries_of("POST", f"/users/{self._user_id(user)}/requests", period)

    # -- Terra's API -----------------------------------------------------------------------------------------------

    def requests(self, path: str = "", *, method: str | None = None) -> list[dict[str, Any]]:
        """Return the calls of Terra's API that your back end made, oldest first; `path` may be the end of one."""
        found = self.control.call("GET", "/requests")
        return [each for each in found if each["path"].endswith(path) and method in {None, each["method"]}]

    def fault(self, path: str, kind: str, **fields: object) -> None:
        """Let calls of Terra's API fail: `fault("/userInfo", "rate_limit", times=1)`; see `POST /_control/faults`."""
        self.control.call("POST", "/faults", {"path": path, "kind": kind, **fields})

    # -- the simulator ---------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Return every setting; `settings.py` describes them."""
        found: dict[str, Any] = self.control.call("GET", "/settings")
        return found

    def set(self, **changes: object) -> None:
        """Change settings."""
        self.control.call("PATCH", "/settings", changes)

    def reset(self) -> None:
        """Delete all users and webhooks, and reset the settings, the time, and the sequence of ids."""
        self.control.call("POST", "/reset")

    def _user_id(self, user: User | None) -> str:
        return user.user_id if isinstance(user, Connection) else self.control.user_id(user)

    def _deliveries_of(self, method: str, path: str, fields: Mapping[str, object]) -> list[Delivery]:
        return [Delivery.of(each) for each in self.control.call(method, path, fields)["deliveries"]]


@contextmanager
def simulator(*arguments: str, dev_id: str = DEFAULT_DEV_ID) -> Iterator[Terra]:
    """Run a simulator on a free port, and end it with the block. It ends with this process, too.

    Args:
        arguments: of `terra-simulator serve`, such as `--seed`, `7`.
        dev_id: the developer account's.

    Raises:
        SimulatorError: With its message, if it does not start.
    """
    command = [sys.executable, "-m", "terra_simulator", "serve", *arguments]
    command += ["--port", "0", "--dev-id", dev_id, "--stop-with-stdin"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 - this package's own command
            command,
            env=environment_of_child(SOURCES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            found = re.search(r"http://[\d.]+:\d+", process.stdout.readline() if process.stdout else "")
            if found is None:
                process.wait(_END_S)
                errors.seek(0)
                message = f"the simulator did not start: {errors.read().strip()}"
                raise SimulatorError(message)
            with ControlClient(found.group()) as client:
                yield Terra(client, dev_id=dev_id, credentials=Credentials.from_environment())
        finally:
            process.terminate()
            process.wait(_END_S)


def _connection(answer: Mapping[str, Any]) -> Connection:
    user = answer["user"]
    return Connection(
        user_id=user["user_id"],
        reference_id=user["reference_id"],
        provider=user["provider"],
        deliveries=tuple(Delivery.of(each) for each in answer["deliveries"]),
    )
