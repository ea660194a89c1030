"""Terra's Admin API, `/api/v3/admin`: tokens, destinations, events, users and synthetic users of one environment.

Its source is Terra's OpenAPI document of October 2026 (2026.10.09). The setting `admin_version` selects it, or
November's: `events` instead of `webhook-events`, and the rotation of signing secrets. Of November's documents only the
beginnings of the pages were available: the paths are Terra's, the fields of the answers are assumed.

`tokens` (who calls), `refusals` (problems), `guard` (tokens, scopes, dry runs, idempotency keys, rate limit), `paging`,
and the endpoints: `token_api`, `destination_api`, `event_api` with `event_rows`, `user_api`.
"""
