"""An environment in which every function starts, where it is started by itself."""

from dataclasses import fields

from terra_connections.settings import BrandSettings, ReturnSettings, Settings


def function_environment(**changes: str) -> dict[str, str]:
    """Every setting, with some value that nothing refuses; user tokens are taken, and nothing is asked of anybody."""
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
