"""A local Terra: REST API, consent pages, redirects, signed webhooks with retries, and faults on demand.

It behaves as Terra's published documentation, OpenAPI document and SDKs state (https://docs.tryterra.co); where these
disagree or are silent, a setting chooses. Everything listens on 127.0.0.1. Modules: `users` (users and their
connections), `events` (webhook bodies), `signature`, `schedule` and `outbox` (sending), `simulator` (Terra's rules),
`rest`, `consent` with `pages`, `control` (HTTP), `calls` (what they share), `faults`, `journal`, `settings`,
`state_file`, `clock`, `identifiers` (random, or by a seed), `destinations` (where webhooks go), `payloads` (what the
URLs of `s3_payload` lead to), `data_feed` and `data_reads` (data of users, sent and requested), and the packages `data`
(what they are), `console` (the page at `/`) and `admin`: Terra's Admin API under `/api/v3/admin`. The package
`commands` has the subcommands of `terra-simulator`. For tests there are `testing`, `pytest_plugin`, and
`control_client`, which the commands use, too.

The control API (JSON, no authentication, only from this machine; invalid input gets 400 with `error`):

`GET /_control/health`
    200 when the simulator responds.
`POST /_control/reset`
    Delete users, deliveries, calls and faults, and reset changed settings, the time and the sequence of a seed.
`GET /_control/time`, `POST /_control/time`
    The time, and whether it is stopped. Change it: at? (with an offset), or advance_s?; stopped?. Advancing makes every
    attempt that becomes due, each at its own time, and waits for them. While the time is stopped, an event moves it by
    a millisecond. `t` of signatures stays real, unless the setting signature_time is `simulated`.
`GET /_control/settings`, `PATCH /_control/settings`
    Every field of `settings.Settings`, and webhook_url, webhook_delivery (push, ping) and signing_secret of the
    destination that the command line configures. The Admin API manages all destinations; a webhook goes to each that is
    active and admits its type.
`GET /_control/requests[?path=&method=]`, `DELETE /_control/requests`
    The REST calls received: time, method, path, query, body, status. `path` may be its end.
`GET /_control/faults`, `POST /_control/faults`, `DELETE /_control/faults`
    path (its end or with `*`), method?, kind (status, problem, legacy, html, empty, malformed, wrong_shape, slow,
    disconnect, rate_limit), status?, delay_s?, retry_after?, times?, body? (of wrong_shape), stage? (before, or after:
    the call takes effect and only its response is replaced). Every kind
    may be delayed; `slow` then responds normally.
`GET /_control/deliveries[?type=&state=&trace_id=]`
    Every webhook: delivery_id, event_id, destination_id, trace_id, type, body (null beyond 1 MB), bytes, user, state
    (pending, held, delivered, given_up, lost), attempts (at, t, status, answer, error, url, took_ms, headers; fault and
    received if a fault replaced the answer), next_attempt_at, created_at, ordering_timestamp, reference, t, headers,
    url, is_retried; of an `s3_payload` also event_type, and pointer (name, token, expires_at, fetches).
`POST /_control/deliveries`
    Send any webhook: one of body (JSON), text, base64; trace_id?, ordering_timestamp? (null: no header), reference?
    (null: no header), t?, secret? or secrets? (one v1 each), headers? (replace; null omits), url?, copies?,
    concurrent?, retry? (false). Waits for the first responses: a list of trace_id, status (null: no response), body,
    error. Hold and send_webhooks do not apply.
`POST /_control/deliveries/{delivery_id}/again`
    Send the same bytes once more, with their original trace id, ordering timestamp and signature:
    trace_id?, ordering_timestamp? (null: no header), sign_anew? (a new `t`), copies?, concurrent?. Returns such a list.
`GET /_control/delivery_faults`, `POST /_control/delivery_faults`, `DELETE /_control/delivery_faults`
    What happens to the next webhooks: kind (timeout, status: the receiver gets the first attempt, and its answer is
    replaced; lost, duplicate, delay), status? (500), delay_s? (10), times? (1: how many webhooks).
`POST /_control/hold`, `POST /_control/release`
    Hold the webhooks emitted from now on. Release: order? (fifo, reverse, shuffled, or trace ids to send first), drop?
    (trace ids to lose), keep_holding? (continue to hold; with trace ids in `order`, only those are sent). Waits for the
    first attempts; returns the deliveries.
`POST /_control/retry_now`
    Attempt every pending delivery once, now. Waits; returns the deliveries.
`POST /_control/admin_tokens`
    Create a token of the Admin API: scopes? (the default set of a device login), dev_ids? (null: all), expires_in_s?.
    Returns it with its `token`.
`POST /_control/admin_logins/{user_code}`
    Decide a device login: decision? (approved, denied). The page /cli/verify?code= does the same.
`GET /_control/logins`, `POST /_control/logins`
    The logins started, with auth_url and outcome. Start one, as authenticateUser does, without finishing it: resource?
    (FITBIT), reference_id?.
`GET /_control/users`, `POST /_control/users`
    Create a connection: reference_id?, provider? (FITBIT), account?, user_id?, token? (spends a mobile token), silent?
    (no webhook). Returns user and deliveries, after their first attempts.
`PATCH /_control/users/{user_id}`, `DELETE /_control/users/{user_id}`
    Change (reference_id, account, scopes, active, is_authenticated, created_at, last_webhook_update) or remove without
    a webhook.
`POST /_control/users/{user_id}/events`
    type (deauth, access_revoked, connection_error, permission_change, activity, ...), wait? (true); every other field
    goes into the body. Changes Terra's data accordingly and sends the webhook. Returns deliveries.
`POST /_control/users/{user_id}/reauth`
    The same account connects again, and a new user replaces this one: order? (auth_first, reauth_first), old_user?
    (present, null), wait? (true). Returns the new user and deliveries.
`POST /_control/users/{user_id}/data`
    Send generated data: type? (daily; any of Terra's types of data, lab_report.completed, lab_report.failed, route,
    which Terra does not document, or all), date? (today), days? (1: how many, in one webhook), samples? (false),
    revision? (the latest that was sent: 0 is a day that is not over, 1 the whole day, each further one a correction),
    status? (of a health_observation: 2 amended, 3 entered in error), wait? (true), and at most one of: corrections?
    (how many corrections to send: the next revisions), values? (such as 100, 120, 100: one webhook for each, which
    differ in one field) with field? (such as `distance_data.steps`), size? (bytes of the body). Every webhook has a
    later ordering timestamp than the one before. Returns deliveries.
`POST /_control/users/{user_id}/requests`
    Request a period, as `GET /api/v2/{type}` with to_webhook does: type? (daily), start_date, end_date, samples?
    (false), wait? (true). Returns answer and deliveries. The setting large_request_order determines what a large one
    sends.
`GET /_control/payloads`, `POST /_control/payloads/expire`
    What the URLs of `s3_payload` lead to: name, token, expires_at, fetches. Let all of them expire now.

The page at `/` shows and does most of it in a browser.
"""
