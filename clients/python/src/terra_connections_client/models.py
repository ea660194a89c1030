"""The types of the API and of its events. Generated: run make clients."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

ReferenceId: TypeAlias = str


Type: TypeAlias = str


class BackfillType(TypedDict):
    type: Literal['activity', 'athlete', 'body', 'daily', 'menstruation', 'nutrition', 'sleep']
    state: Literal['pending', 'requested', 'receiving', 'complete', 'partial', 'failed']
    """
    pending: not requested yet. requested: Terra has accepted requests, and nothing has arrived. receiving: some deliveries have
    arrived. complete: all have. partial: nothing has arrived for an hour, and not all deliveries are there, or their number is
    not known. failed: Terra rejected a request, see reason.

    """
    received: int
    """
    the number of different deliveries
    """
    expected: int | None
    """
    null while the number is not known
    """
    reason: str | None
    """
    `not_found` (Terra does not know the connection), or a code of docs/problems.md such as `terra_rejected`
    """


ReferenceIdOrNull: TypeAlias = ReferenceId | None


class User(TypedDict):
    reference_id: NotRequired[ReferenceIdOrNull]
    """
    required with a service key; with a user token only its subject is allowed
    """


Resource: TypeAlias = str


class NewSession(TypedDict):
    reference_id: NotRequired[ReferenceIdOrNull]
    """
    required with a service key, except together with `user_id`; with a user token only its subject is allowed
    """
    resource: NotRequired[str | None]
    """
    without it the user picks a provider; not case-sensitive: fitbit is FITBIT
    """
    resources: NotRequired[list[Resource] | None]
    """
    the providers that the user may pick from; not together with `resource`
    """
    user_id: NotRequired[str | None]
    """
    the connection to repair, by one of its `user_id`s; not together with `resource` or `resources`
    """
    return_to: NotRequired[str | None]
    """
    the name of a configured return target; any other value, including a URL, is 422 `unknown_return_target`
    """
    language: NotRequired[str | None]
    """
    the language of Terra's pages and ours; by default, with a user token, the best one of the Accept-Language header
    """


class Session(TypedDict):
    session_id: str
    status: Literal['pending', 'connected', 'needs_app', 'failed', 'expired']
    """
    pending: not finished. connected: confirmed by Terra. needs_app: the user picked a source that connects inside a phone
    app (SDK). failed: see reason. expired: not finished in time (a later confirmation still makes it connected).

    """
    reason: Literal['access_denied', 'missing_scopes', 'provider_error', 'unknown', 'other_account'] | None
    """
    other_account: the login of a repair made another connection than the one to repair
    """
    reference_id: str
    resource: str | None
    """
    the provider; null if the user picks one and has not connected it yet
    """
    user_id: str | None
    """
    Terra's id of the connection, once connected
    """
    created_at: str
    expires_at: str
    repairs: NotRequired[str]
    """
    the `user_id` of the connection that the login repairs, as it was when the session was created; only in such a session
    """


class CreatedSession(Session):
    auth_url: str
    """
    the login page; only in this response
    """
    warnings: NotRequired[list[str]]
    """
    only in this response, and only if there are any; free text from Terra
    """


class Replay(TypedDict):
    replay_id: str
    """
    the `replay_id` in its events
    """


class MobileToken(TypedDict):
    token: str
    expires_in: int
    """
    seconds
    """


class Connection(TypedDict):
    connection_id: str
    """
    this stack's id; it is stable across reconnects (if the `auth` of a reconnect arrives before its `user_reauth`, it may change once, to the older id)
    """
    user_id: str
    """
    Terra's id
    """
    reference_id: str | None
    """
    null while the user is unknown
    """
    provider: str
    """
    UNKNOWN if Terra has not sent it
    """
    status: Literal['connected', 'needs_reauth', 'revoked']
    """
    needs_reauth: the provider rejects Terra's access; revoked: disconnected
    """
    scopes: list[str]
    connected_at: str
    """
    first connected
    """
    updated_at: str
    """
    the time of the last event or response from Terra about it
    """


class Fact(TypedDict):
    user_id: str
    """
    one of the `user_id`s of the connection
    """
    kind: Literal['absent', 'announced_for', 'connected', 'error', 'failed', 'first_connected', 'login', 'owner', 'present', 'provider', 'renamed', 'replaced_by', 'replaces', 'revoked', 'scope_added', 'scope_removed', 'scopes', 'widget_session_id']
    value: str | list[str] | None
    """
    the user or users, provider, scope or scopes, linked `user_id`, event or reason; null for kinds without one, and for widget_session_id, because that id is part of a login URL
    """
    at: str
    """
    the time by which facts are ordered: of a webhook its own, of a response of Terra two minutes before the request
    """
    source: Literal['webhook', 'terra_response', 'request', 'import', 'unknown']
    """
    request: DELETE /connections/{user_id}; import: `make import`; unknown: a webhook or a response of Terra, and no other fact of the same time shows which
    """
    summary: str
    """
    For people; the text may change
    """


class Provider(TypedDict):
    resource: str
    """
    the `resource` for POST /sessions
    """
    name: str
    type: Literal['api', 'sdk']
    """
    api: on the provider's own site; sdk: inside a phone app, with POST /mobile-tokens
    """
    icon_url: str | None
    """
    https, or null
    """


ProblemCode: TypeAlias = Literal['invalid_request', 'not_signed', 'forbidden', 'not_found', 'unknown_resource', 'sdk_only_provider', 'refused_by_terra', 'request_in_progress', 'erasure_in_progress', 'erasure_unfinished', 'connection_ended', 'user_limit_reached', 'idempotency_key_reused', 'unknown_return_target', 'too_many_requests', 'too_many_sessions', 'terra_rejected', 'terra_user_limit', 'terra_entitlement_required', 'terra_environment_disabled', 'terra_unavailable', 'terra_authorization_unavailable', 'not_durable', 'misconfigured', 'storage_unavailable']
"""
the stable code of an error; docs/problems.md explains each. New ones may be added
"""


class FieldError(TypedDict):
    field: str
    """
    `body` or `query` stands for the whole
    """
    message: str


class Refusal(TypedDict):
    message: str


ConnectionEventType: TypeAlias = Literal['connected', 'needs_reauth', 'recovered', 'scopes_changed', 'reconnected', 'corrected', 'disconnected', 'erased', 'went_quiet']


class ConnectionIds(TypedDict):
    connection_id: str
    user_id: str


class RepairBody(TypedDict):
    user_id: str


class EventConnection(TypedDict):
    connection_id: str
    user_id: str
    reference_id: str
    provider: str
    status: Literal['connected', 'needs_reauth', 'revoked']
    scopes: list[str]
    connected_at: str
    updated_at: str


DataEventType: TypeAlias = Literal['data_received', 'data_claimed']


class DataReceived(TypedDict):
    event_id: str
    trace_id: str | None
    terra_reference: str | None
    user_id: str | None
    """
    null for lab reports and for bodies that name no user
    """
    connection_id: str | None
    """
    null while the owner is unknown
    """
    reference_id: str | None
    """
    null while the owner is unknown
    """
    provider: str | None
    type: str
    """
    daily, sleep, activity, ...: ignore types that you do not know
    """
    position: int
    """
    the time of the delivery in unix milliseconds, which orders deliveries
    """
    records: int | None
    first_day: str | None
    last_day: str | None
    bytes: int
    """
    the size of the body
    """
    sha256: str
    """
    of the body
    """
    bucket: str
    key: str
    replay_id: str | None
    """
    set if a replay caused the event
    """


NewReplay = TypedDict(
    'NewReplay',
    {
        'reference_id': NotRequired[ReferenceIdOrNull],
        'user_id': NotRequired[str | None],
        'types': NotRequired[list[Type] | None],
        'from': NotRequired[str | None],
        'to': NotRequired[str | None],
    },
)


NewBackfill = TypedDict(
    'NewBackfill',
    {
        'reference_id': NotRequired[ReferenceIdOrNull],
        'user_id': NotRequired[str | None],
        'types': NotRequired[list[Literal['activity', 'athlete', 'body', 'daily', 'menstruation', 'nutrition', 'sleep']] | None],
        'from': str,
        'to': NotRequired[str | None],
    },
)


class BackfillConnection(TypedDict):
    user_id: str
    provider: str
    types: list[BackfillType]


class ConnectionList(TypedDict):
    connections: list[Connection]
    next_cursor: NotRequired[str | None]
    """
    the `cursor` of the next page; null on the last one. Only in a page of all users
    """


class ProviderList(TypedDict):
    providers: list[Provider]


class Explanation(TypedDict):
    connection: Connection | None
    """
    as GET /connections/{user_id} returns it; null if Terra has never reported it as connected
    """
    summary: str
    """
    the status in words: which fact decides it, and since when. For people; the text may change
    """
    facts: list[Fact]
    """
    newest first
    """


class Problem(TypedDict):
    type: str
    """
    the page that explains the code: the parameter `ProblemsUrl`, with the code as the fragment
    """
    title: str
    status: int
    detail: NotRequired[str]
    code: ProblemCode
    errors: NotRequired[list[FieldError]]
    """
    of `invalid_request`
    """


class Repair(TypedDict):
    """
    if the connection needs a new login: the request to the API that begins it
    """

    method: Literal['POST']
    path: Literal['/sessions']
    body: RepairBody


class ConnectionChanged(TypedDict):
    event_id: str
    type: ConnectionEventType
    reference_id: str
    connection: EventConnection
    """
    the current state; the last state, if it ended
    """
    previous: NotRequired[ConnectionIds]
    """
    the ids before the change
    """
    replaces: NotRequired[list[ConnectionIds]]
    """
    other connections that were listed and have become a part of this one: delete your copies
    """
    connections: list[EventConnection]
    """
    all current connections of the user, newest first, as GET /connections returns them
    """
    position: int
    """
    when reading `connections` began, in unix milliseconds: of two lists of a user the greater position is newer
    """
    at: str
    """
    when the change was written, rounded down to the second
    """
    quiet_since: NotRequired[str]
    """
    of went_quiet: the day since which there is no data, in UTC
    """
    repair: NotRequired[Repair]


ConnectionEvent = TypedDict(
    'ConnectionEvent',
    {
        'detail-type': ConnectionEventType,
        'detail': ConnectionChanged,
        'version': str,
        'id': str,
        'source': str,
        'account': str,
        'time': str,
        'region': str,
        'resources': list[str],
    },
)


DataEvent = TypedDict(
    'DataEvent',
    {
        'detail-type': DataEventType,
        'detail': DataReceived,
        'version': str,
        'id': str,
        'source': str,
        'account': str,
        'time': str,
        'region': str,
        'resources': list[str],
    },
)


Backfill = TypedDict(
    'Backfill',
    {
        'backfill_id': str,
        'reference_id': str,
        'status': Literal['running', 'finished'],
        'from': str,
        'to': str,
        'created_at': str,
        'expires_at': str,
        'connections': list[BackfillConnection],
    },
)


Event: TypeAlias = ConnectionEvent | DataEvent
