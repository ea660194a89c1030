"""Creates clients and stores. Each is created once per process, and only by the handlers that need it."""

import gc

# Before the imports: a function loads some 40,000 permanent objects. By default, Python runs the garbage collector
# after every 2,000 new ones, which takes a twentieth of a cold start. Warm calls leave almost none; 100,000 are few MB.
gc.set_threshold(100_000)

# ruff: noqa: E402 - the imports follow the setting that makes them faster
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from terra_connections.errors import Misconfigured
from terra_connections.secret import Secret
from terra_connections.settings import BrandSettings, ReturnSettings, Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

    from terra_connections.auth.user_token import UserTokenVerifier
    from terra_connections.change_events.event_bus import EventBus
    from terra_connections.connections.store import ConnectionStore
    from terra_connections.reconciliation.queue import SweepQueue
    from terra_connections.reconciliation.store import SweepStore
    from terra_connections.redirects.redirect import Redirector
    from terra_connections.sessions.idempotency import ClaimStore
    from terra_connections.sessions.return_target import ReturnTargets
    from terra_connections.sessions.store import SessionStore
    from terra_connections.sessions.widget_reports import WidgetReportStore
    from terra_connections.terra.client import TerraClient
    from terra_connections.terra.provider_cache import ProviderCache
    from terra_connections.users.limits import UserLimits
    from terra_connections.users.pseudonym import Pseudonyms
    from terra_connections.users.store import UserStore
    from terra_connections.webhooks.delivery_store import DeliveryStore

# Terra waits 8 s for the response to a webhook. One AWS call, with its one retry, may take 5 s.
_QUICK = Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2})


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings.read()


@cache
def _aws() -> boto3.Session:
    return boto3.Session()


def _client(service: str) -> Any:  # noqa: ANN401 - each service's client has a type of its own
    return _aws().client(service, config=_QUICK)  # type: ignore[call-overload]


@cache
def dynamodb() -> "DynamoDBClient":
    """The DynamoDB client."""
    client: DynamoDBClient = _client("dynamodb")
    return client


@cache
def _secrets_manager() -> "SecretsManagerClient":
    client: SecretsManagerClient = _client("secretsmanager")
    return client


@cache
def signing_secrets() -> Secret:
    """Terra's signing secrets."""
    return Secret(_secrets_manager(), settings().signing_secrets_arn)


@cache
def service_keys() -> Secret:
    """The service keys of the back ends that may call the API."""
    return Secret(_secrets_manager(), settings().service_keys_arn)


@cache
def user_tokens() -> "UserTokenVerifier | None":
    """The verification of user tokens; None, without any import, if no issuer is configured."""
    if not settings().oidc_issuer:
        return None
    from terra_connections import metrics
    from terra_connections.auth.jwks import Issuer, JwksCache
    from terra_connections.auth.user_token import Policy, UserTokenVerifier

    policy = Policy.parse(
        issuer=settings().oidc_issuer,
        audience=settings().oidc_audience,
        algorithms=settings().oidc_algorithms,
        claim=settings().oidc_reference_id_claim,
    )
    issuer = Issuer(policy.issuer, jwks_url=settings().oidc_jwks_url, is_local=settings().is_local)
    keys = JwksCache(issuer.keys, algorithms=policy.algorithms)
    return UserTokenVerifier(policy, keys, checked=metrics.user_token_checked)


@cache
def pseudonyms() -> "Pseudonyms":
    """The pseudonyms of users."""
    from terra_connections.users.pseudonym import Pseudonyms

    return Pseudonyms(settings().pseudonym_key)


@cache
def users() -> "UserStore":
    """The store of users: their tombstones, and the logins that they have started."""
    from terra_connections.users.store import UserStore

    return UserStore(
        dynamodb(),
        connections_table=settings().connections_table,
        sessions_table=settings().sessions_table,
        pseudonyms=pseudonyms(),
    )


def user_limits(what: str) -> "UserLimits":
    """The limit per user of one operation: `syncs`, `mobile-tokens` or `erasures`."""
    from terra_connections.users.limits import Limited, UserLimits

    at_most = {
        Limited.SYNCS: settings().syncs_per_user_per_minute,
        Limited.MOBILE_TOKENS: settings().mobile_tokens_per_user_per_hour,
        Limited.ERASURES: settings().erasures_per_user_per_hour,
    }
    limited = Limited(what)
    return UserLimits(dynamodb(), settings().sessions_table, pseudonyms(), limited, int(at_most[limited]))


@cache
def connections() -> "ConnectionStore":
    """The store of connections."""
    from terra_connections.connections.store import ConnectionStore

    return ConnectionStore(dynamodb(), settings().connections_table, users=users())


@cache
def sessions() -> "SessionStore":
    """The store of sessions."""
    from terra_connections.sessions.store import SessionStore

    return SessionStore(dynamodb(), settings().sessions_table)


@cache
def claims() -> "ClaimStore":
    """The store of idempotency claims."""
    from terra_connections.sessions.idempotency import ClaimStore

    return ClaimStore(dynamodb(), settings().sessions_table)


@cache
def widget_reports() -> "WidgetReportStore":
    """The store of the reports about widget sessions."""
    from terra_connections.sessions.widget_reports import WidgetReportStore

    return WidgetReportStore(dynamodb(), settings().sessions_table)


@cache
def deliveries() -> "DeliveryStore":
    """The store of deliveries."""
    from terra_connections.webhooks.delivery_store import DeliveryStore

    return DeliveryStore(settings().deliveries_table)


@cache
def _sqs() -> "SQSClient":
    client: SQSClient = _client("sqs")
    return client


@cache
def sweeps() -> "SweepStore":
    """The store of sweeps, in the table of sessions."""
    from terra_connections.reconciliation.store import SweepStore

    return SweepStore(dynamodb(), settings().sessions_table)


@cache
def sweep_queue() -> "SweepQueue":
    """The queue of a sweep's pending steps."""
    from terra_connections.reconciliation.queue import SweepQueue

    return SweepQueue(_sqs(), settings().sweep_queue_url)


@cache
def event_bus() -> "EventBus":
    """The stack's event bus."""
    from terra_connections.change_events.event_bus import EventBus

    client: EventBridgeClient = _client("events")
    return EventBus(client, settings().event_bus_name)


@cache
def return_targets() -> "ReturnTargets":
    """The configured return targets, checked."""
    from terra_connections.sessions.return_target import ReturnTargets

    return ReturnTargets.parse(ReturnSettings.read().return_targets, is_local=settings().is_local)


@cache
def redirector() -> "Redirector":
    """Redirects to the app, and result pages with the deployment's branding."""
    from terra_connections.redirects.branding import Brand
    from terra_connections.redirects.pages import Pages
    from terra_connections.redirects.redirect import Redirector

    configured = BrandSettings.read()
    brand = Brand.parse(configured.brand_name, configured.brand_color, configured.brand_logo)
    return Redirector(return_targets(), Pages(brand, is_local=settings().is_local))


@cache
def terra() -> "TerraClient":
    """The client of Terra's API."""
    from terra_connections import metrics
    from terra_connections.terra import transport
    from terra_connections.terra.client import TerraClient

    secret = Secret(_secrets_manager(), settings().terra_secret_arn)
    return TerraClient(
        transport.client(),
        api_url=settings().terra_api_url,
        widget_url=settings().terra_widget_url,
        dev_id=settings().terra_dev_id,
        api_key=lambda: secret.value("api_key"),
        mobile_token_path=settings().terra_mobile_token_path,
        is_local=settings().is_local,
        asked=metrics.terra_called,
    )


@cache
def offered() -> "ProviderCache":
    """The available providers, for functions that already have a client of Terra's API."""
    from terra_connections.terra.provider_cache import ProviderCache

    return ProviderCache(lambda within: terra().providers(within=within))


@cache
def catalogue() -> "ProviderCache":
    """The available providers. Terra is called without a key: the function has no permission to read it."""
    from terra_connections import metrics
    from terra_connections.terra import transport
    from terra_connections.terra.client import TerraClient
    from terra_connections.terra.provider_cache import ProviderCache

    terra = TerraClient(
        transport.client(),
        api_url=settings().terra_api_url,
        widget_url=settings().terra_widget_url,
        dev_id=settings().terra_dev_id,
        api_key=_no_key,
        asked=metrics.terra_called,
    )
    return ProviderCache(lambda within: terra.providers(within=within))


def _no_key() -> str:
    message = "This function may not read Terra's key."
    raise Misconfigured(message)
