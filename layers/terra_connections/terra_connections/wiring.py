"""Creates clients and stores. Each is created once per process, and only by the handlers that need it."""

import gc

# Before the imports: a function loads some 40,000 permanent objects. By default, Python runs the garbage collector
# after every 2,000 new ones, which takes a twentieth of a cold start. Warm calls leave almost none; 100,000 are few MB.
gc.set_threshold(100_000)

# ruff: noqa: E402 - the imports follow the setting that makes them faster
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from terra_connections import settings
from terra_connections.errors import Misconfigured
from terra_connections.secret import Secret
from terra_connections.settings import (
    ApiSettings,
    BrandSettings,
    CallerSettings,
    TableSettings,
    TerraSettings,
    WebhookSettings,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

    from terra_connections.auth.user_token import UserTokenVerifier
    from terra_connections.change_events.event_bus import EventBus
    from terra_connections.connections.cursor import Cursors
    from terra_connections.connections.store import ConnectionStore
    from terra_connections.data.announcing import AnnouncementQueue
    from terra_connections.data.backfill_start import BackfillOnConnect
    from terra_connections.data.backfill_store import BackfillStore
    from terra_connections.data.backfill_worker import BackfillWorker
    from terra_connections.data.publisher import DataPublisher
    from terra_connections.data.quiet import LastDataStore, QuietWatch
    from terra_connections.data.receipts import ReceiptStore
    from terra_connections.data.store import PayloadStore
    from terra_connections.reconciliation.store import SweepStore
    from terra_connections.reconciliation.sweep import RevocationLimit
    from terra_connections.redirects.redirect import Redirector
    from terra_connections.sessions.idempotency import ClaimStore
    from terra_connections.sessions.return_target import ReturnTargets
    from terra_connections.sessions.start import Started
    from terra_connections.sessions.store import SessionStore
    from terra_connections.sessions.widget_reports import WidgetReportStore
    from terra_connections.step_queue import StepQueue
    from terra_connections.terra.client import TerraClient
    from terra_connections.terra.provider_cache import ProviderCache
    from terra_connections.users.limits import UserLimits
    from terra_connections.users.pseudonym import Pseudonyms
    from terra_connections.users.store import UserStore
    from terra_connections.webhooks.data_intake import DataIntake
    from terra_connections.webhooks.delivery_store import DeliveryStore
    from terra_connections.webhooks.payload_fetcher import PayloadFetcher
    from terra_connections.webhooks.ping import FetchQueue
    from terra_connections.webhooks.signature import Tolerance

# Terra waits 8 s for the response to a webhook. One AWS call, with its one retry, may take 5 s.
_QUICK = Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2})

# Functions that announce, fetch or store payloads may wait: a page that fails is repeated only minutes later.
_PATIENT = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


@cache
def api_settings() -> ApiSettings:
    """The settings of this API."""
    return ApiSettings.read()


@cache
def _tables() -> TableSettings:
    return TableSettings.read()


@cache
def _callers() -> CallerSettings:
    return CallerSettings.read()


@cache
def _webhooks() -> WebhookSettings:
    return WebhookSettings.read()


@cache
def _aws() -> boto3.Session:
    return boto3.Session()


def _client(service: str, config: Config = _QUICK) -> Any:  # noqa: ANN401 - each service's client has a type of its own
    return _aws().client(service, config=config)  # type: ignore[call-overload]


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
    return Secret(_secrets_manager(), _webhooks().signing_secrets_arn)


@cache
def service_keys() -> Secret:
    """The service keys of the back ends that may call the API."""
    return Secret(_secrets_manager(), _callers().service_keys_arn)


@cache
def user_tokens() -> "UserTokenVerifier | None":
    """The verification of user tokens; None, without any import, if no issuer is configured."""
    callers = _callers()
    if not callers.oidc_issuer:
        return None
    from terra_connections import metrics
    from terra_connections.auth.jwks import Issuer, JwksClient
    from terra_connections.auth.user_token import Policy, UserTokenVerifier

    policy = Policy.parse(
        issuer=callers.oidc_issuer,
        audience=callers.oidc_audience,
        algorithms=callers.oidc_algorithms,
        claim=callers.oidc_reference_id_claim,
    )
    issuer = Issuer(policy.issuer, jwks_url=callers.oidc_jwks_url, is_local=api_settings().is_local)
    keys = JwksClient(policy.issuer, issuer.jwks, algorithms=policy.algorithms)
    return UserTokenVerifier(policy, keys, checked=metrics.user_token_checked)


@cache
def pseudonyms() -> "Pseudonyms":
    """The pseudonyms of users."""
    from terra_connections.users.pseudonym import Pseudonyms

    return Pseudonyms(settings.pseudonym_key())


@cache
def users() -> "UserStore":
    """The store of users: their tombstones, and the logins that they have started."""
    from terra_connections.users.store import UserStore

    return UserStore(
        dynamodb(),
        connections_table=_tables().connections,
        sessions_table=_tables().sessions,
        pseudonyms=pseudonyms(),
    )


def user_limits(what: str) -> "UserLimits":
    """The limit per user of one operation: `syncs`, `mobile-tokens`, `erasures` or `backfills`."""
    from terra_connections.users.limits import Limited, UserLimits

    return UserLimits(dynamodb(), _tables().sessions, pseudonyms(), Limited(what), settings.user_limit(what))


@cache
def connections() -> "ConnectionStore":
    """The store of connections."""
    from terra_connections.connections.store import ConnectionStore

    return ConnectionStore(dynamodb(), _tables().connections, users=users())


@cache
def cursors() -> "Cursors":
    """The cursors of GET /connections."""
    from terra_connections.connections.cursor import Cursors

    return Cursors(settings.pseudonym_key())


@cache
def sessions() -> "SessionStore":
    """The store of sessions."""
    from terra_connections.sessions.store import SessionStore

    return SessionStore(dynamodb(), _tables().sessions)


@cache
def claims() -> "ClaimStore":
    """The store of idempotency claims."""
    from terra_connections.sessions.idempotency import ClaimStore

    return ClaimStore(dynamodb(), _tables().sessions)


@cache
def widget_reports() -> "WidgetReportStore":
    """The store of the reports about widget sessions."""
    from terra_connections.sessions.widget_reports import WidgetReportStore

    return WidgetReportStore(dynamodb(), _tables().sessions)


@cache
def deliveries() -> "DeliveryStore":
    """The store of deliveries."""
    from terra_connections.webhooks.delivery_store import DeliveryStore

    return DeliveryStore(_webhooks().deliveries_table)


def signature_tolerance() -> "Tolerance":
    """The accepted age of a webhook's signature, in the past and in the future."""
    from terra_connections.webhooks.signature import Tolerance

    return Tolerance(past=_webhooks().signature_max_age, future=_webhooks().signature_max_ahead)


@cache
def _sqs() -> "SQSClient":
    client: SQSClient = _client("sqs")
    return client


@cache
def sweeps() -> "SweepStore":
    """The store of sweeps, in the table of sessions."""
    from terra_connections.reconciliation.store import SweepStore

    return SweepStore(dynamodb(), _tables().sessions)


@cache
def sweep_queue() -> "StepQueue":
    """The queue of a sweep's pending steps."""
    from terra_connections.step_queue import StepQueue

    return StepQueue(_sqs(), settings.sweep_queue_url())


def revocation_limit() -> "RevocationLimit":
    """The largest share of missing connections that a sweep revokes."""
    from terra_connections.reconciliation.sweep import RevocationLimit

    return RevocationLimit(percent=settings.revocation_percent())


@cache
def event_bus() -> "EventBus":
    """The stack's event bus."""
    from terra_connections.change_events.event_bus import EventBus

    client: EventBridgeClient = _client("events")
    return EventBus(client, settings.event_bus_name())


@cache
def payloads() -> "PayloadStore | None":
    """The bucket of payloads; None, without any import, if data deliveries are discarded."""
    bucket = settings.payloads_bucket()
    return _payload_store(bucket, _QUICK) if bucket else None


def _payload_store(bucket: str, config: Config) -> "PayloadStore":
    from terra_connections.data.store import PayloadStore

    client: S3Client = _client("s3", config)
    return PayloadStore(client, bucket)


def data_intake() -> "DataIntake | None":
    """The intake of data deliveries; None, without any import, if they are discarded."""
    bucket = payloads()
    if bucket is None:
        return None
    from terra_connections.webhooks.data_intake import DataIntake

    return DataIntake(bucket, deliveries(), pseudonyms(), fetch_queue(), receipts())


@cache
def fetch_queue() -> "FetchQueue":
    """The queue of payloads to fetch."""
    from terra_connections.webhooks.ping import FetchQueue

    return FetchQueue(_sqs(), settings.fetches_queue_url())


def payload_fetcher() -> "PayloadFetcher":
    """The fetcher of the payloads of pings."""
    from terra_connections.data.payload_urls import PayloadUrls
    from terra_connections.data.safe_get import safe_get
    from terra_connections.webhooks.delivery_store import PointerStore
    from terra_connections.webhooks.payload_fetcher import PayloadFetcher
    from terra_connections.webhooks.ping import DeadFetches

    return PayloadFetcher(
        urls=PayloadUrls.parse(settings.payload_urls(), is_local=api_settings().is_local),
        payloads=_payload_store(settings.payloads_bucket(), _PATIENT),
        pointers=PointerStore(dynamodb(), settings.deliveries_table()),
        pseudonyms=pseudonyms(),
        dead=DeadFetches(_sqs(), settings.dead_fetches_queue_url()),
        get=safe_get,
    )


def data_publisher() -> "DataPublisher":
    """The publisher of the events about payloads."""
    from terra_connections.data.publisher import DataPublisher

    bucket = settings.payloads_bucket()
    if not bucket:
        message = "PAYLOADS_BUCKET must not be empty: this function exists only with DataDeliveries=keep."
        raise Misconfigured(message)
    return DataPublisher(_payload_store(bucket, _PATIENT), connections(), event_bus())


def last_data() -> "LastDataStore | None":
    """The days of the last data, in the table of sessions; None, without any import, if nothing checks them."""
    if not settings.quiet_after_days():
        return None
    from terra_connections.data.quiet import LastDataStore

    return LastDataStore(dynamodb(), _tables().sessions)


def quiet_watch() -> "QuietWatch | None":
    """The check for wearables without data; None, without any import, if there is none."""
    days = last_data()
    if days is None:
        return None
    from terra_connections.data.quiet import QuietWatch

    return QuietWatch(connections(), days, event_bus(), settings.quiet_after_days())


def announcement_queue() -> "AnnouncementQueue | None":
    """The queue of announcements of stored payloads; None, without any import, if data deliveries are discarded."""
    url = settings.announcements_queue_url()
    if not url:
        return None
    from terra_connections.data.announcing import AnnouncementQueue

    return AnnouncementQueue(_sqs(), url)


def required_announcement_queue() -> "AnnouncementQueue":
    """The same queue, for functions that exist only with DataDeliveries=keep."""
    queue = announcement_queue()
    if queue is None:
        message = "ANNOUNCEMENTS_QUEUE_URL must not be empty: this function exists only with DataDeliveries=keep."
        raise Misconfigured(message)
    return queue


@cache
def backfills() -> "BackfillStore":
    """The store of backfills, in the table of sessions."""
    from terra_connections.data.backfill_store import BackfillStore

    return BackfillStore(dynamodb(), _tables().sessions, users())


@cache
def receipts() -> "ReceiptStore":
    """The store of what was received for requests to Terra, in the table of sessions."""
    from terra_connections.data.receipts import ReceiptStore

    return ReceiptStore(dynamodb(), _tables().sessions)


def backfill_queue() -> "StepQueue":
    """The queue of the steps of backfills."""
    from terra_connections.step_queue import StepQueue

    url = settings.backfills_queue_url()
    if not url:
        message = "BACKFILLS_QUEUE_URL must not be empty: backfills exist only with DataDeliveries=keep."
        raise Misconfigured(message)
    return StepQueue(_sqs(), url)


def backfill_worker() -> "BackfillWorker":
    """The worker of backfills."""
    from terra_connections.data.backfill_worker import BackfillWorker

    return BackfillWorker(terra(), backfills(), backfill_queue())


def backfill_on_connect() -> "BackfillOnConnect | None":
    """The start of the backfills of new connections; None, without any import, if there are none."""
    days = settings.backfill_on_connect_days()
    if not days:
        return None
    from terra_connections.data.backfill_start import BackfillOnConnect

    return BackfillOnConnect(days, settings.backfill_window_days(), backfills(), backfill_queue())


@cache
def return_targets() -> "ReturnTargets":
    """The configured return targets, checked."""
    from terra_connections.sessions.return_target import ReturnTargets

    return ReturnTargets.parse(settings.return_targets(), is_local=api_settings().is_local)


def session_start() -> "partial[Started]":
    """`sessions.start.start_session` with its dependencies. It still takes the request, the claim, base_url and now."""
    from terra_connections import metrics
    from terra_connections.sessions.start import start_session

    return partial(
        start_session,
        open_limit=settings.open_session_limit(),
        terra=terra(),
        providers=provider_cache(),
        return_targets=return_targets(),
        sessions=sessions(),
        claims=claims(),
        connections=connections(),
        users=users(),
        count_login=metrics.login_counted,
    )


@cache
def redirector() -> "Redirector":
    """Redirects to the app, and result pages with the deployment's branding."""
    from terra_connections.redirects.branding import Brand
    from terra_connections.redirects.pages import Pages
    from terra_connections.redirects.redirect import Redirector

    brand = Brand.parse(*BrandSettings.read())
    return Redirector(return_targets(), Pages(brand, is_local=api_settings().is_local))


@cache
def terra() -> "TerraClient":
    """The client of Terra's API."""
    secret = Secret(_secrets_manager(), settings.terra_secret_arn())
    return _terra(lambda: secret.value("api_key"))


def _terra(api_key: Callable[[], str]) -> "TerraClient":
    from terra_connections import metrics
    from terra_connections.terra import transport
    from terra_connections.terra.client import TerraClient

    is_local = api_settings().is_local
    terra_settings = TerraSettings.read(is_local=is_local)
    return TerraClient(
        transport.client(),
        api_url=terra_settings.api_url,
        widget_url=terra_settings.widget_url,
        dev_id=terra_settings.dev_id,
        api_key=api_key,
        mobile_token_path=terra_settings.mobile_token_path,
        is_local=is_local,
        on_call=metrics.terra_called,
    )


@cache
def provider_cache() -> "ProviderCache":
    """The available providers, for functions that already have a client of Terra's API."""
    return _provider_cache(terra())


@cache
def keyless_provider_cache() -> "ProviderCache":
    """The available providers. Terra is called without a key: the function has no permission to read it."""
    return _provider_cache(_terra(_no_key))


def _provider_cache(terra: "TerraClient") -> "ProviderCache":
    from terra_connections.terra.provider_cache import ProviderCache

    return ProviderCache(lambda within: terra.providers(within=within))


def _no_key() -> str:
    message = "This function may not read Terra's key."
    raise Misconfigured(message)
