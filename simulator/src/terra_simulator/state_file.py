"""Keeps the simulated Terra's state across restarts."""

import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terra_simulator.admin.tokens import AdminTokens
from terra_simulator.destinations import Destinations
from terra_simulator.outbox import Delivery
from terra_simulator.users import Users


class State(BaseModel):
    """The saved state: users, destinations, admin tokens, and the webhooks that have not been delivered."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    users: Users = Field(default_factory=Users)
    destinations: Destinations = Field(default_factory=Destinations)
    admin_tokens: AdminTokens = Field(default_factory=AdminTokens)
    deliveries: list[Delivery] = Field(default_factory=list)
    drawn: int = 0
    """How many values of the seed's sequence are used; a restart with the same seed continues after them."""


class UnreadableStateError(Exception):
    """The state file exists but does not contain a valid state."""


class StateFile:
    """One JSON file, replaced as a whole and readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = b""

    def load(self) -> State:
        """Read an earlier run's state; empty if there is none.

        Raises:
            UnreadableStateError: When the file does not contain a valid state.
        """
        try:
            return State.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return State()
        except ValidationError as error:
            message = f"{self._path} is not a state of the simulator ({error.error_count()} errors): remove it"
            raise UnreadableStateError(message) from error

    def save(self, state: State) -> None:
        """Write the state unless it is unchanged."""
        content = state.model_dump_json().encode()
        if content == self._written:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp creates the file with mode 0600, and in the same folder, so that the replacement is atomic.
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._written = content
