"""Environments, users and synthetic users of the Admin API."""

from http import HTTPStatus
from typing import Literal

from pydantic import Field

from terra_simulator.admin.guard import AdminRequest, Call, Change
from terra_simulator.admin.paging import Window, rfc3339, whole
from terra_simulator.admin.refusals import not_found, reject
from terra_simulator.data_feed import date_of
from terra_simulator.identifiers import new_id
from terra_simulator.providers import PROVIDERS, SYNTHETIC
from terra_simulator.simulator import Simulator
from terra_simulator.users import SyntheticRun, User

HOUR_S = 3600.0


class NewSyntheticUser(AdminRequest):
    """The body of a creation."""

    duration_hours: Literal[24, 48, 72]
    description: str | None = Field(default=None, max_length=2000)
    persona: str | None = None
    reference_id: str | None = Field(default=None, max_length=128)
    provider: str | None = None
    backfill_days: int = Field(default=0, ge=0, le=30)


class UserApi:
    """The endpoints."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator

    async def environments(self, _call: Call) -> dict[str, object]:
        """Return the account's only environment."""
        return whole([self._environment()])

    async def environment(self, _call: Call) -> dict[str, object]:
        """Return the environment with masked secrets."""
        return {
            **self._environment(),
            "api_key_masked": f"****{self._terra.api_key[-4:]}",
            "signing_secret_masked": f"****{self._terra.environment_secret[-4:]}",
            "user_limit": 1000,
        }

    async def api_key(self, _call: Call) -> dict[str, object]:
        """Return the environment's secrets in plain text."""
        return {
            "dev_id": self._terra.dev_id,
            "api_key": self._terra.api_key,
            "signing_secret": self._terra.environment_secret,
        }

    def _environment(self) -> dict[str, object]:
        return {"dev_id": self._terra.dev_id, "name": "local", "active": True, "billable": False, "profile": None}

    async def all(self, call: Call) -> dict[str, object]:
        """Return every user, newest first."""
        query = call.request.query_params
        window = Window(query, now=self._terra.clock() + 1, default_s=self._terra.clock())
        if (provider := query.get("provider")) and provider.upper() not in PROVIDERS:
            reject(f"provider: {provider} is not known")
        rows = [_row(user) for user in reversed(self._terra.users.by_id.values())]
        filters = {name: query[name] for name in ("provider", "user_id", "reference_id") if name in query}
        found = [row for row in rows if all(row[name] == value for name, value in filters.items())]
        if "active" in query:
            found = [row for row in found if row["active"] is (query["active"] == "true")]
        if wanted := query.get("q"):
            found = [r for r in found if str(r["reference_id"]).startswith(wanted) or r["user_id"] == wanted]
        return window.page(found)

    # -- synthetic users -------------------------------------------------------------------------------------------

    async def synthetic_users(self, _call: Call) -> dict[str, object]:
        """Return every synthetic user."""
        users = self._terra.users
        return whole([self._synthetic(users.by_id[each]) for each in users.synthetic if each in users.by_id])

    async def synthetic_user(self, call: Call) -> dict[str, object]:
        """Return one synthetic user."""
        return self._synthetic(self._found(call))

    async def create_synthetic(self, call: Call) -> Change:
        """Create a user who delivers data until the run ends."""
        fields = call.fields(NewSyntheticUser)
        if (fields.description is None) == (fields.persona is None):
            reject("description: give either a description or a persona")

        def commit() -> dict[str, object]:
            now = self._terra.clock()
            user, _ = self._terra.connect_directly(SYNTHETIC, fields.reference_id, new_id(), user_id=None, silent=True)
            self._terra.users.synthetic[user.user_id] = SyntheticRun(
                run_id=new_id(),
                description=fields.description,
                persona=fields.persona,
                duration_hours=fields.duration_hours,
                created_at=now,
                started_at=now,
                expires_at=now + fields.duration_hours * HOUR_S,
            )
            if self._terra.settings.synthetic_auth:
                self._terra.apply_event(user, "auth", {})
            self._begin(user)
            return self._synthetic(user)

        return Change(
            "create", {"provider": SYNTHETIC, "reference_id": fields.reference_id}, commit, HTTPStatus.CREATED
        )

    async def start(self, call: Call) -> Change:
        """Start another run."""
        user = self._found(call)

        def commit() -> dict[str, object]:
            now, run = self._terra.clock(), self._terra.users.synthetic[user.user_id]
            if run.status != "active":
                changes = {"run_id": new_id(), "status": "active", "payloads_sent": 0, "started_at": now}
                expires_at = now + run.duration_hours * HOUR_S
                self._terra.users.synthetic[user.user_id] = run.model_copy(update={**changes, "expires_at": expires_at})
                self._begin(user)
            return self._synthetic(user)

        return Change("enable", {"user_id": user.user_id}, commit)

    async def stop(self, call: Call) -> Change:
        """End the current run."""
        user = self._found(call)

        def commit() -> dict[str, object]:
            self._terra.users.synthetic[user.user_id].status = "cancelled"
            return self._synthetic(user)

        return Change("disable", {"user_id": user.user_id}, commit)

    def _begin(self, user: User) -> None:
        self._terra.outbox.begin(self._deliver(user, self._terra.users.synthetic[user.user_id]))

    async def _deliver(self, user: User, run: SyntheticRun) -> None:
        """Send data of a synthetic user until its run ends."""
        while run.status == "active":
            if self._terra.clock() >= run.expires_at or user.user_id not in self._terra.users.by_id:
                run.status = "completed"
                return
            now = self._terra.clock()
            self._terra.feed.send(user, [self._terra.feed.next_revision(user, "daily", date_of(now))])
            run.payloads_sent += 1
            run.last_run_at = now
            await self._terra.clock.sleep(self._terra.settings.synthetic_cadence_s)

    def _found(self, call: Call) -> User:
        user_id = call.parameter("user_id")
        if user_id not in self._terra.users.synthetic or user_id not in self._terra.users.by_id:
            not_found("synthetic user")
        return self._terra.users.by_id[user_id]

    def _synthetic(self, user: User) -> dict[str, object]:
        run = self._terra.users.synthetic[user.user_id]
        cadence, is_running = self._terra.settings.synthetic_cadence_s, run.status == "active"
        return {
            "user_id": user.user_id,
            "reference_id": user.reference_id,
            "description": run.description,
            "persona": run.persona,
            "provider": user.provider,
            "status": "generating" if is_running else "stopped",
            "created_at": rfc3339(run.created_at),
            "latest_run": {
                "run_id": run.run_id,
                "status": run.status,
                "cadence_seconds": int(cadence),
                "payloads_sent": run.payloads_sent,
                "started_at": rfc3339(run.started_at),
                "expires_at": rfc3339(run.expires_at),
                "next_run_at": rfc3339(run.last_run_at + cadence) if is_running and run.last_run_at else None,
                "last_run_at": rfc3339(run.last_run_at) if run.last_run_at else None,
            },
        }


def _row(user: User) -> dict[str, object]:
    return {
        "user_id": user.user_id,
        "reference_id": user.reference_id,
        "provider": user.provider.lower(),
        "active": bool(user.active),
        "scopes": user.scopes,
        "created_at": user.created_at,
        "last_updated_at": user.last_webhook_update,
        "most_recent_data_at": user.most_recent_data_at,
    }
