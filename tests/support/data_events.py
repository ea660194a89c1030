"""Payloads of health data in a real bucket, and the events that announce them."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3

from local.testing import Stack

Event = dict[str, Any]
DAY = "2026-07-01"


def client(stack: Stack, service: str, endpoint: str = "") -> Any:  # noqa: ANN401 - the stubs have no S3
    return session(stack).client(service, endpoint_url=endpoint or stack.aws_url)  # type: ignore[call-overload]


def session(stack: Stack) -> boto3.Session:
    return boto3.Session("local", "local", region_name=stack.region)


@dataclass(frozen=True)
class Bucket:
    """A bucket of payloads."""

    s3: Any
    name: str

    def store(self, type_: str, body: object, position: int, **more: object) -> Event:
        """Store a payload, and return its event, as the stack publishes it."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        user_id = more.get("user_id", str(uuid4()))
        digest = hashlib.sha256(f"{position}.".encode() + content).hexdigest()[:32]
        key = f"p/{user_id}/{type_}/{position:015d}-{digest}.json.gz"
        self.s3.put_object(Bucket=self.name, Key=key, Body=gzip.compress(content))
        detail = {
            "event_id": str(uuid4()),
            "trace_id": str(uuid4()),
            "terra_reference": None,
            "user_id": user_id,
            "connection_id": None,
            "reference_id": None,
            "provider": "FITBIT",
            "type": type_,
            "position": position,
            "records": 1,
            "first_day": DAY,
            "last_day": DAY,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bucket": self.name,
            "key": key,
            "replay_id": None,
            **more,
        }
        return envelope("data_received", detail)


def envelope(type_: str, detail: Mapping[str, Any], time: str = "2026-07-01T12:00:00Z") -> Event:
    """Return an event as EventBridge delivers it."""
    return {"detail-type": type_, "source": "terra-connections", "time": time, "detail": dict(detail)}


def changed(event: Event, **changes: object) -> Event:
    """Return an event with another detail."""
    return {**event, "detail": {**event["detail"], **changes}}


def claimed(event: Event, reference_id: str, connection_id: str = "con_1") -> Event:
    """Return the event that follows when the owner becomes known."""
    owner = changed(event, reference_id=reference_id, connection_id=connection_id)
    return {**owner, "detail-type": "data_claimed"}


def erased(user_id: str, reference_id: str, position: int, *left: str) -> Event:
    """Return the event of an erased connection."""
    connections = [{"user_id": each, "connection_id": f"con_{each}"} for each in left]
    connection = {"user_id": user_id, "connection_id": "con_1", "reference_id": reference_id}
    detail = {"event_id": f"evt_{uuid4().hex}", "type": "erased", "reference_id": reference_id, "position": position}
    return envelope("erased", {**detail, "connection": connection, "connections": connections})


# --- bodies, with the fields of Terra's OpenAPI document --------------------------------------------------------------


def day_metadata(day: str = DAY) -> dict[str, str]:
    return {"start_time": f"{day}T00:00:00.000000+01:00", "end_time": f"{day}T23:59:59.000000+01:00"}


def daily(steps: object, *, day: str = DAY, **more: object) -> dict[str, Any]:
    record = {"metadata": day_metadata(day), "distance_data": {"steps": steps}, **more}
    return {"type": "daily", "user": {"user_id": "u"}, "data": [record]}


def sleep(seconds: object, *, ends: str = f"{DAY}T07:02:00.000000+01:00", **ids: object) -> dict[str, Any]:
    metadata = {"start_time": "2026-06-30T23:12:00.000000+01:00", "end_time": ends, **ids}
    durations = {"asleep": {"duration_asleep_state_seconds": seconds}}
    return {"type": "sleep", "data": [{"metadata": metadata, "sleep_durations_data": durations}]}


def body(*weights: tuple[str, object]) -> dict[str, Any]:
    measurements = [{"measurement_time": f"{DAY}T{at}+01:00", "weight_kg": weight} for at, weight in weights]
    heart = {"heart_rate_data": {"summary": {"resting_hr_bpm": 52}}}
    record = {"metadata": day_metadata(), "measurements_data": {"measurements": measurements}, "heart_data": heart}
    return {"type": "body", "data": [record]}


def observation(summary_id: str, status: int, observation_type: str = "headache") -> dict[str, Any]:
    metadata = {"summary_id": summary_id, "start_time": f"{DAY}T09:00:00.000000+01:00"}
    data = {"observation_type": observation_type, "status": status}
    return {"type": "health_observation", "data": [{"metadata": metadata, "observation_data": data}]}
