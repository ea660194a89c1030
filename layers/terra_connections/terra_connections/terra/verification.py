"""Converts Terra's responses about a `user_id` to facts, with their positions."""

from datetime import datetime, timedelta

from terra_connections.connections.facts import VERIFICATION_LAG, Facts, Kind, Position, TerraUser, confirmed_facts
from terra_connections.ids import UserId
from terra_connections.terra.client import TerraClient


def verification_position(now: datetime) -> Position:
    """Return the position of facts from a call to Terra."""
    return Position(int((now - VERIFICATION_LAG).timestamp() * 1000))


def verify_user(user_id: UserId, *, terra: TerraClient, within: timedelta, now: datetime) -> Facts:
    """Ask Terra about one `user_id`, and return the facts.

    `is_authenticated: true` gives CONNECTED, which also ends NEEDS_REAUTH. A 404 gives ABSENT. An unauthenticated user
    gives PRESENT, which only cancels ABSENT.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: the call failed.
    """
    info, at = terra.user_info(user_id, within=within), verification_position(now)
    if info is None:
        return TerraUser(user_id).facts(at, Kind.ABSENT)
    if not info.is_authenticated:
        return TerraUser(user_id).facts(at, Kind.PRESENT)
    return confirmed_facts(TerraUser(user_id, owner=info.reference_id, provider=info.provider, scopes=info.scopes), at)
