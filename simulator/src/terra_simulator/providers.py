"""The wearable platforms of the simulator.

Names and the difference between cloud providers and those of the mobile SDK are Terra's (`GET /integrations`,
https://docs.tryterra.co). It is a selection: enough to distinguish enabled from available, and cloud from SDK.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """One platform that an end user can connect."""

    name: str
    title: str
    is_sdk: bool = False
    scopes: str = "ACTIVITY_EXPORT,HEALTH_EXPORT"
    color: str = "#4a5565"
    """The background of its sign on the simulator's pages: white text on it is readable."""

    def as_integration(self, *, is_enabled: bool) -> dict[str, object]:
        """Return the platform in the form of `GET /integrations/detailed`."""
        kinds = ("activity", "body", "nutrition", "daily", "sleep", "menstruation")
        return {
            "provider": self.name,
            "name": self.title,
            "icon": f"https://access.tryterra.co/api/v2/static/assets/img/app_icons/{self.name.lower()}.webp",
            "setup": "SDK" if self.is_sdk else "API_KEYS_MANAGED",
            "enabled": is_enabled,
            "types": dict.fromkeys(kinds, True),
        }


SYNTHETIC: Final = "SYNTHETIC"
"""The provider of the Admin API's synthetic users. It has no login page, and no list contains it."""

PROVIDERS: Final[dict[str, Provider]] = {
    provider.name: provider
    for provider in (
        Provider("COROS", "COROS"),
        Provider("DEXCOM", "Dexcom", scopes="offline_access", color="#2e7d32"),
        Provider("EIGHT", "Eight Sleep"),
        Provider("FITBIT", "Fitbit", scopes="activity,heartrate,nutrition,profile,sleep,weight", color="#00737a"),
        Provider("GARMIN", "Garmin", color="#0b63a5"),
        Provider("GOOGLE", "Google Fit", scopes="fitness.activity.read,fitness.sleep.read", color="#1a66c9"),
        Provider("OURA", "Oura", scopes="daily,heartrate,personal,session,workout", color="#3a3f47"),
        Provider("PELOTON", "Peloton", color="#b3151f"),
        Provider("POLAR", "Polar", scopes="accesslink.read_all", color="#c8102e"),
        Provider("STRAVA", "Strava", scopes="activity:read_all,profile:read_all", color="#c23d00"),
        Provider("SUUNTO", "Suunto", scopes="workout"),
        Provider("WHOOP", "WHOOP", scopes="read:recovery,read:sleep,read:workout", color="#111827"),
        Provider("WITHINGS", "Withings", scopes="user.activity,user.info,user.metrics", color="#00695c"),
        Provider("ZWIFT", "Zwift"),
        Provider("APPLE", "Apple Health", is_sdk=True, color="#b3234a"),
        Provider("HEALTH_CONNECT", "Health Connect", is_sdk=True, color="#1f6f43"),
        Provider("SAMSUNG", "Samsung Health", is_sdk=True, color="#1428a0"),
        Provider(SYNTHETIC, "Synthetic user", is_sdk=True),
    )
}
"""Every platform by its name."""

ENABLED_AT_FIRST: Final = ("APPLE", "FITBIT", "GARMIN", "OURA", "POLAR", "SAMSUNG", "WHOOP", "WITHINGS")
"""The providers that the simulated account has enabled at first."""
