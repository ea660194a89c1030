"""The expected result of each event in events/*.json, in the order of the invocations."""

from typing import Any

EXPECTED_RESULTS: dict[str, object] = {
    "authorize": True,
    "create_session": 201,
    "terra_webhook": 200,
    "list_connections": 200,
    "get_connection": 200,
    "get_facts": 200,
    # No stack has the sessions of these events.
    "get_session": 404,
    "auth_success": 400,
    "auth_failure": 400,
    "auth_retry": 400,
    "list_providers": 200,
    "create_mobile_token": 201,
    "sync_connections": 200,
    "disconnect": 204,
    "erase_person": 204,
    "publish_events": [],
    "publish_data": [],
    "announce_data": [],
    "create_replay": 202,
    # PayloadUrls does not allow its URL.
    "fetch_payload": [],
    # No user of these events is connected, and no stack has their backfill.
    "create_backfill": 404,
    "get_backfill": 404,
    "run_backfill": [],
    "reconcile": "00000000-0000-4000-8000-000000000001",
    "sweep_page": [],
}


def result_of(result: Any) -> object:  # noqa: ANN401 - JSON
    """Return the status, the authorization result, the failed records or the sweep id."""
    [response] = [
        result[name] for name in ("statusCode", "isAuthorized", "batchItemFailures", "sweep_id") if name in result
    ]
    return response
