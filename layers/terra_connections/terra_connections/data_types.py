"""The types of data that can be requested of Terra."""

REQUESTED = ("activity", "athlete", "body", "daily", "menstruation", "nutrition", "sleep")
"""Those whose endpoint sends to the webhook. Source: Terra's OpenAPI document (2026.10), `to_webhook`: planned workouts
have an endpoint without it, the other types have none."""
WITHOUT_PERIOD = "athlete"
"""The profile of a user: its endpoint takes no dates."""
