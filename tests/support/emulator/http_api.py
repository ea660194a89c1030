"""HTTP APIs that are imported from an OpenAPI document (`Body`), which MiniStack ignores.

Rejects, as API Gateway does, a security scheme that the document does not define, settings of a route that does not
exist, and the removal of a route that still has settings.
"""

from typing import Any

from ministack.services import apigateway

from tests.support.emulator.handlers import Properties, check_before, create_of, do_after

API = "AWS::ApiGatewayV2::Api"
STAGE = "AWS::ApiGatewayV2::Stage"
NO_SCHEME = "NONE"
"""SAM's marker for a route without an authorizer. API Gateway accepts it."""


def install() -> None:
    """Register the handlers."""
    do_after(API, import_body)
    check_before(STAGE, require_routes)


def import_body(api_id: str, properties: Properties) -> None:
    """Replace the routes, integrations and authorizers of an API by those of its document."""
    if "Body" not in properties:
        return
    body = properties["Body"]
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in body["paths"].items()
        for method, operation in methods.items()
    }
    schemes = body.get("components", {}).get("securitySchemes", {})
    require_schemes(operations, schemes)
    require_no_settings_of_other_routes(api_id, set(operations))
    api = apigateway._apis[api_id]
    api["name"] = body["info"]["title"]
    api.pop("corsConfiguration", None)
    if cors := body.get("x-amazon-apigateway-cors"):
        api["corsConfiguration"] = cors
    for held in (apigateway._routes, apigateway._integrations, apigateway._authorizers):
        held[api_id] = {}
    authorizers = {name: make_authorizer(api_id, name, scheme) for name, scheme in schemes.items()}
    for route_key, operation in operations.items():
        make_route(api_id, route_key, operation, authorizers)


def require_schemes(operations: dict[str, Any], schemes: dict[str, Any]) -> None:
    """Reject a document whose routes use a security scheme that it does not define."""
    for route_key, operation in operations.items():
        for name in schemes_of(operation):
            if name not in schemes and name != NO_SCHEME:
                message = f"Unable to import the API: {route_key} uses the undefined security scheme {name}"
                raise ValueError(message)


def require_no_settings_of_other_routes(api_id: str, route_keys: set[str]) -> None:
    """Reject the removal of a route that has settings in a stage."""
    for stage in apigateway._stages.get(api_id, {}).values():
        require_known(set(stage["routeSettings"]), route_keys)


def require_routes(properties: Properties) -> None:
    """Reject settings of routes that do not exist."""
    routes = apigateway._routes.get(properties["ApiId"], {}).values()
    require_known(set(properties.get("RouteSettings", {})), {route["routeKey"] for route in routes})


def require_known(with_settings: set[str], route_keys: set[str]) -> None:
    """Reject settings for route keys that are not known."""
    for route_key in sorted(with_settings - route_keys):
        message = f"Unable to find Route by key {route_key} within the provided RouteSettings"
        raise ValueError(message)


def schemes_of(operation: dict[str, Any]) -> list[str]:
    return [name for requirement in operation.get("security", []) for name in requirement]


def make_authorizer(api_id: str, name: str, scheme: dict[str, Any]) -> str:
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    authorizer_id, _ = create_of("AWS::ApiGatewayV2::Authorizer")(
        name,
        {
            "ApiId": api_id,
            "Name": name,
            "AuthorizerType": authorizer["type"].upper(),
            "AuthorizerUri": authorizer["authorizerUri"],
            "AuthorizerPayloadFormatVersion": authorizer["authorizerPayloadFormatVersion"],
            "AuthorizerResultTtlInSeconds": authorizer["authorizerResultTtlInSeconds"],
            "EnableSimpleResponses": authorizer["enableSimpleResponses"],
            "IdentitySource": authorizer["identitySource"],
        },
        "",
    )
    return authorizer_id


def make_route(api_id: str, route_key: str, operation: dict[str, Any], authorizers: dict[str, str]) -> None:
    integration = operation["x-amazon-apigateway-integration"]
    integration_id, _ = create_of("AWS::ApiGatewayV2::Integration")(
        route_key,
        {
            "ApiId": api_id,
            "IntegrationType": integration["type"].upper(),
            "IntegrationUri": integration["uri"],
            "IntegrationMethod": integration["httpMethod"],
            "PayloadFormatVersion": integration["payloadFormatVersion"],
        },
        "",
    )
    authorized = [
        {"AuthorizationType": "CUSTOM", "AuthorizerId": authorizers[name]}
        for name in schemes_of(operation)
        if name in authorizers
    ]
    route = {"ApiId": api_id, "RouteKey": route_key, "Target": f"integrations/{integration_id}"}
    create_of("AWS::ApiGatewayV2::Route")(route_key, route | (authorized[0] if authorized else {}), "")
