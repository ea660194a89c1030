"""Faults that tests request: of calls (slow responses, errors, rate limits, cut connections), and of webhooks."""

from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from terra_simulator import answers

Kind = Literal[
    "status",
    "problem",
    "legacy",
    "html",
    "empty",
    "malformed",
    "wrong_shape",
    "slow",
    "disconnect",
    "rate_limit",
]


class Fault(BaseModel):
    """One fault, and the calls that it applies to."""

    model_config = ConfigDict(extra="forbid")

    path: str
    """The whole path or its end; `*` matches anything."""
    method: str | None = None
    kind: Kind
    status: int | None = Field(default=None, ge=200, le=599)
    delay_s: float = Field(default=0.0, ge=0)
    retry_after: int = Field(default=1, ge=0)
    times: int | None = Field(default=None, ge=1)
    """The number of calls that it applies to; None means all."""
    body: object = Field(default_factory=lambda: {"unexpected": True})
    """The response body of `wrong_shape`."""
    stage: Literal["before", "after"] = "before"
    """after: the call takes effect first, and only its response is replaced."""

    def applies_to(self, method: str, path: str) -> bool:
        """Return whether the fault applies to a call."""
        return self.method in {None, method} and (fnmatchcase(path, self.path) or fnmatchcase(path, f"*{self.path}"))

    def answer(self, request: Request) -> Response:  # noqa: PLR0911 - one line per kind is the clearest table
        """Return the fault's response; a slow or cut call has no response of its own."""
        failed = self.status or HTTPStatus.INTERNAL_SERVER_ERROR
        match self.kind:
            case "status" | "problem":
                return answers.problem(request, failed)
            case "legacy":
                return answers.legacy(failed)
            case "html":
                return answers.page(failed)
            case "empty" | "slow" | "disconnect":
                return answers.empty(failed)
            case "malformed":
                return Response(b'{"status": "success", "user": {', self.status or 200, media_type="application/json")
            case "wrong_shape":
                return JSONResponse(self.body, self.status or 200)
            case "rate_limit":
                return answers.rate_limited(self.retry_after)
            case _:
                assert_never(self.kind)


class Faults:
    """The active faults, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Activate a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def all(self) -> list[Fault]:
        """Return the active faults."""
        return list(self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that applies to a call and count it."""
        for fault in self._faults:
            if fault.applies_to(method, path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                return fault
        return None


class DeliveryFault(BaseModel):
    """What happens to the next webhooks: to the receiver's answer, or to the webhook itself."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["timeout", "status", "lost", "duplicate", "delay"]
    """timeout, status: the receiver gets the first attempt, and its answer is replaced, so that Terra retries."""
    status: int = Field(default=500, ge=300, le=599)
    delay_s: float = Field(default=10.0, ge=0)
    times: int = Field(default=1, ge=1, le=1000)
    """The number of webhooks that it applies to."""


class DeliveryFaults:
    """The faults of the next webhooks, oldest first."""

    def __init__(self) -> None:
        self._faults: list[DeliveryFault] = []

    def add(self, fault: DeliveryFault) -> None:
        """Choose what happens to webhooks after those that earlier faults of its kind apply to."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def all(self) -> list[DeliveryFault]:
        """Return the faults that are left."""
        return list(self._faults)

    def take(self, *kinds: str) -> DeliveryFault | None:
        """Return the first fault of these kinds and count it."""
        fault = next((each for each in self._faults if each.kind in kinds), None)
        if fault is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return fault
