"""Manages Terra's side of a stage through Terra's Admin API: `make terra`, `make recover`, and a part of `make doctor`.

Sources: Terra's OpenAPI document of the Admin API, 2026.10.09, and the pages of its documentation of November 2026
(docs.tryterra.co, "Admin API"). docs/terra.md describes the commands.

`admin` (the client) with `models` and `token`; `deliveries` (what Terra delivered, in both versions of its API);
`plan` (what has to change) and `change` (makes it); `resend`; `command` (what the commands share).
"""
