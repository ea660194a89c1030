"""An environment in which every function starts, for tests that start functions themselves."""

from dataclasses import fields

from terra_connections.settings import BrandSettings, ReturnSettings, Settings


def function_environment(**changes: str) -> dict[str, str]:
    """Return a valid value for every setting. User tokens are enabled. No setting causes a network call."""
    return {
        **{field.name.upper(): "1" for of in (Settings, ReturnSettings, BrandSettings) for field in fields(of)},
        "PUBLIC_BASE_URL": "",
        "TERRA_API_URL": "https://terra.example.com/api/v2",
        "TERRA_WIDGET_URL": "https://terra.example.com/api/widget/session",
        "PSEUDONYM_KEY": "1" * 64,
        "RETURN_TARGETS": "{}",
        "BRAND_COLOR": "",
        "BRAND_LOGO": "",
        "OIDC_ISSUER": "https://login.example.com",
        "OIDC_ALGORITHMS": "RS256",
        "OIDC_JWKS_URL": "",
        "AWS_DEFAULT_REGION": "eu-west-1",
        **changes,
    }
