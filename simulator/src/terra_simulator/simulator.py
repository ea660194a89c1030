"""Terra's rules for users, their events and the webhooks.

The HTTP modules (`rest`, `consent`, `control`) call these methods. The rules of reconnecting are Terra's: the same
account under the same reference_id gets a new user_id which replaces the old one (`auth` and `user_reauth`); another
account of the same end user is a second connection. An end user has at most one connection to a provider of the mobile
SDKs, and a new device replaces it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from terra_simulator import events, identifiers
from terra_simulator.admin.tokens import AdminTokens
from terra_simulator.clock import Clock
from terra_simulator.data_feed import DataFeed
from terra_simulator.destinations import Destinations
from terra_simulator.faults import Faults
from terra_simulator.identifiers import new_id, token_urlsafe
from terra_simulator.journal import Journal
from terra_simulator.outbox import Delivery, Emission, Outbox, Webhook
from terra_simulator.providers import PROVIDERS
from terra_simulator.redirects import ORDERS, with_parameters
from terra_simulator.settings import ConfiguredWebhook, Settings
from terra_simulator.state_file import State, StateFile
from terra_simulator.users import Login, MobileToken, User, Users, WidgetSession, terra_time

MOBILE_TOKEN_LIFETIME_S = 180


class LoginRequest(BaseModel):
    """A developer's login request; every field is optional."""

    model_config = ConfigDict(extra="ignore", strict=True)

    reference_id: str | None = None
    language: str | None = None
    auth_success_redirect_url: str | None = None
    auth_failure_redirect_url: str | None = None


class Simulator:
    """A Terra with one developer account."""

    def __init__(
        self,
        settings: Settings,
        *,
        dev_id: str,
        api_key: str,
        webhook: ConfiguredWebhook,
        state_path: Path | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        self.dev_id = dev_id
        self.api_key = api_key
        self.settings = settings
        self.clock = clock = clock or Clock()
        self._seed = seed
        identifiers.use_seed(seed)
        self.users = Users()
        self.destinations = Destinations()
        self.admin_tokens = AdminTokens()
        self.faults = Faults()
        self.journal = Journal()
        self.environment_secret = webhook.signing_secret
        self.outbox = Outbox(
            lambda: self.settings,
            lambda: self.destinations,
            environment_secret=webhook.signing_secret,
            clock=clock,
            on_change=self.save,
        )
        self.feed = DataFeed(lambda: self.settings, self.outbox, clock=clock)
        self._settings_at_start = settings
        self.names = frozenset({urlsplit(settings.public_url).hostname or ""})
        """The host of the simulator's address, which requests may name in addition to this machine's own names."""
        self._webhook_at_start = self._webhook = webhook
        self.configure(webhook)
        self._state_file = None if state_path is None else StateFile(state_path)
        self._redirects = 0

    # -- state -----------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Continue with an earlier run's state; raises UnreadableStateError."""
        if self._state_file is not None:
            state = self._state_file.load()
            self.users = state.users
            self.destinations = state.destinations
            self.admin_tokens = state.admin_tokens
            self.configure(self._webhook)
            self.outbox.restore(state.deliveries)
            identifiers.use_seed(self._seed, drawn=state.drawn)

    def save(self) -> None:
        """Save the state for a restart; cheap if nothing has changed."""
        if self._state_file is not None:
            self._state_file.save(
                State(
                    users=self.users,
                    destinations=self.destinations,
                    admin_tokens=self.admin_tokens,
                    deliveries=self.outbox.undelivered(),
                    drawn=identifiers.drawn(),
                )
            )

    async def reset(self) -> None:
        """Delete every user, delivery, call and fault, and reset changed settings, the time and the seed's sequence."""
        await self.outbox.clear()
        self.clock.reset()
        identifiers.use_seed(self._seed)
        self.feed.clear()
        self._redirects = 0
        self.users = Users()
        self.destinations = Destinations()
        self.admin_tokens = AdminTokens()
        self.faults.clear()
        self.journal.clear()
        self.settings = self._settings_at_start
        self.configure(self._webhook_at_start)
        self.save()

    async def close(self) -> None:
        """Stop sending and save undelivered webhooks."""
        await self.outbox.close()
        self.save()

    def configure(self, webhook: ConfiguredWebhook) -> None:
        """Set the destination of the command line."""
        self._webhook = webhook
        self.destinations.configure(webhook.webhook_url, webhook.signing_secret, webhook.webhook_delivery)

    def change_settings(self, changes: Mapping[str, object]) -> None:
        """Change the behaviour or the configured destination from now on; raises pydantic's ValidationError."""
        webhook = {name: value for name, value in changes.items() if name in ConfiguredWebhook.model_fields}
        settings = self.settings.changed({name: value for name, value in changes.items() if name not in webhook})
        if webhook:
            self.configure(ConfiguredWebhook.model_validate(self._shown_webhook() | webhook))
        self.settings = settings
        if "retry_scale" in changes:
            self.outbox.reschedule()

    @contextmanager
    def changed_settings(self, changes: Mapping[str, object]) -> Iterator[None]:
        """Change the behaviour for the webhooks that are emitted within; they are sent like all others."""
        before = self.settings
        self.settings = before.changed(changes)
        try:
            yield
        finally:
            self.settings = before

    def shown_settings(self) -> dict[str, object]:
        """Return the settings and the configured destination."""
        return self.settings.model_dump() | self._shown_webhook()

    def _shown_webhook(self) -> dict[str, object]:
        destination = self.destinations.configured
        if destination is None:
            return {
                "webhook_url": None,
                "signing_secret": self._webhook.signing_secret,
                "webhook_delivery": self._webhook.webhook_delivery or "push",
            }
        return {
            "webhook_url": destination.url,
            "signing_secret": destination.signing_secret or self.environment_secret,
            "webhook_delivery": "ping" if destination.is_pinged else "push",
        }

    # -- logging in ------------------------------------------------------------------------------------------------

    def begin_login(self, resource: str, login_request: LoginRequest) -> Login:
        """Pre-issue a user and open a login for one provider (authenticateUser)."""
        user = self.users.pre_issue(resource, login_request.reference_id, active=self.settings.pending_user_active)
        return self.users.open_login(
            Login(
                token=token_urlsafe(24),
                resource=resource,
                flow_id=new_id(),
                user_id=user.user_id,
                reference_id=login_request.reference_id,
                success_url=login_request.auth_success_redirect_url,
                failure_url=login_request.auth_failure_redirect_url,
                language=login_request.language,
            )
        )

    def open_widget(self, providers: list[str], login_request: LoginRequest) -> WidgetSession:
        """Open a page on which an end user chooses a provider."""
        session = WidgetSession(
            session_id=new_id(),
            providers=providers,
            created_at=self.clock(),
            reference_id=login_request.reference_id,
            success_url=login_request.auth_success_redirect_url,
            failure_url=login_request.auth_failure_redirect_url,
            language=login_request.language,
        )
        self.users.widget_sessions[session.session_id] = session
        return session

    def has_expired(self, session: WidgetSession) -> bool:
        """Return whether a widget session is too old."""
        return self.clock() > session.created_at + self.settings.widget_opens_for_s

    def login_from_widget(self, session: WidgetSession, resource: str) -> Login:
        """Continue with the provider that the end user chose."""
        return self.users.open_login(
            Login(
                token=token_urlsafe(24),
                resource=resource,
                flow_id=new_id(),
                reference_id=session.reference_id,
                success_url=session.success_url,
                failure_url=session.failure_url,
                language=session.language,
                widget_session_id=session.session_id,
            )
        )

    def is_void(self, login: Login) -> bool:
        """Return whether the pre-issued user of an unfinished login was deauthenticated in the meantime."""
        return login.outcome is None and login.user_id is not None and login.user_id not in self.users.by_id

    def allow(self, login: Login, account: str) -> Emission | None:
        """Finish a login with a connection; None if it was finished before."""
        if login.outcome is not None:
            return None
        user = self.users.by_id[login.user_id] if login.user_id is not None else None
        if user is None or self.settings.final_user_id == "other":
            self.users.remove([user] if user is not None else [])
            user = self.users.pre_issue(login.resource, login.reference_id, active=True)
        login.outcome = "allowed"
        login.redirect = self._redirect(login.success_url, user.user_id, login.resource, login.reference_id)
        return self._emit(self._connect(user, account, login))

    def deny(self, login: Login) -> Emission | None:
        """Finish a login without a connection; None if it was finished before."""
        if login.outcome is not None:
            return None
        login.outcome = "denied"
        login.redirect = self._redirect(
            login.failure_url, login.user_id, login.resource, login.reference_id, reason=self.settings.cancel_reason
        )
        if self.settings.cancel_shape == "new":
            return self._emit([events.cancelled(login, reason=self.settings.cancel_reason)])
        user = self.users.by_id.get(login.user_id or "") or User(
            user_id=login.user_id or new_id(), provider=login.resource, reference_id=login.reference_id
        )
        return self._emit([events.cancelled_as_before(login, user, reason=self.settings.cancel_reason)])

    def close_widget(self, session: WidgetSession) -> tuple[str | None, Emission]:
        """Abandon the choice of a provider: return the failure redirect, and the cancellation."""
        reason = self.settings.cancel_reason
        login = Login(token="", resource="", flow_id=new_id(), reference_id=session.reference_id)
        redirect = self._redirect(session.failure_url, None, None, session.reference_id, reason=reason)
        return redirect, self._emit([events.cancelled(login, reason=reason)])

    def picked_sdk_provider(self, session: WidgetSession, resource: str) -> str | None:
        """Return the success redirect of a provider that only the mobile SDK connects.

        Terra sends the browser to success with a null user_id although no connection exists.
        """
        return self._redirect(session.success_url, None, resource, session.reference_id)

    def connect_directly(
        self, provider: str, reference_id: str | None, account: str | None, *, user_id: str | None, silent: bool
    ) -> tuple[User, Emission | None]:
        """Create a connection without a browser, as the mobile SDKs and tests do; silent means without a webhook."""
        user = self.users.pre_issue(provider, reference_id, active=True)
        if user_id is not None:
            self.users.remove([user])
            user.user_id = user_id
            self.users.by_id[user_id] = user
        bodies = self._connect(user, account or default_account(reference_id), None)
        if silent:
            return user, None
        return user, self._emit(bodies)

    def reconnect(self, user: User, overrides: Mapping[str, object]) -> tuple[User, Emission]:
        """Connect the same account again: a new user replaces this one.

        Args:
            user: The connection that is replaced, live or not.
            overrides: `reauth_order` and `reauth_old_user` for this call, instead of the settings.
        """
        settings = self.settings.changed(overrides)
        new = self.users.pre_issue(user.provider, user.reference_id, active=True)
        self.users.remove([user])
        self._make_live(new, user.account or default_account(user.reference_id))
        connected = events.connected(new, login=None, shape=settings.success_shape)
        return new, self._emit(self._with_reauth(connected, new, user, settings))

    def issue_mobile_token(self, reference_id: str | None) -> MobileToken:
        """Create a single-use token for a mobile SDK (auth/tokens and generateAuthToken)."""
        return self.users.issue_token(self.clock(), lifetime_s=MOBILE_TOKEN_LIFETIME_S, reference_id=reference_id)

    # -- events of connections -------------------------------------------------------------------------------------

    def deauthenticate(self, user: User) -> Emission:
        """Remove a connection for good and report it by webhook."""
        return self.apply_event(user, "deauth", {})

    def apply_event(self, user: User, event_type: str, extra: Mapping[str, object]) -> Emission:
        """Apply an event to a connection: change Terra's data, then send the webhook."""
        match event_type:
            case "deauth":
                self.users.remove([user])
                self.users.deauthenticated[user.user_id] = user
            case "access_revoked":
                user.is_authenticated = user.active = False
            case "permission_change":
                user.scopes = _changed_scopes(user.scopes, extra.get("scopes_added"), extra.get("scopes_removed"))
                if self.settings.permission_change_scopes == "absent":
                    return self._emit([events.without_scopes(events.about(user, event_type, extra))])
            case "user_reauth":
                return self._emit([events.reconnected(user, None) | dict(extra)])
            case _:
                # connection_error changes nothing here: by Terra's documentation, `active` may still be true.
                pass
        return self._emit([events.about(user, event_type, extra)])

    def resend(self, delivery: Delivery) -> Emission:
        """Send an event once more, to every destination that admits it.

        Whether its trace id, `t` and ordering timestamp are new is not documented: settings choose.
        """
        again = Webhook(
            type=str(delivery.payload_type),
            body=delivery.payload,
            user=delivery.subject,
            event_id=delivery.event_id,
            resent=delivery,
        )
        return self.outbox.emit([again])

    def _connect(self, user: User, account: str, login: Login | None) -> list[events.Body]:
        same_account = [other for other in self.users.with_account(user.provider, account) if other is not user]
        replaced = [
            other for other in same_account if other.reference_id == user.reference_id and user.reference_id is not None
        ]
        if PROVIDERS[user.provider].is_sdk and user.reference_id is not None:
            replaced = self.users.of_sdk(user.provider, user.reference_id)
        self.users.remove(replaced)
        self._make_live(user, account)
        if self.settings.same_account_elsewhere == "first_vanishes":
            self.users.remove(other for other in same_account if other.reference_id != user.reference_id)
        body = events.connected(user, login=login, shape=self.settings.success_shape)
        return self._with_reauth(body, user, replaced[0], self.settings) if replaced else [body]

    def _make_live(self, user: User, account: str) -> None:
        user.account = account
        user.scopes = PROVIDERS[user.provider].scopes
        user.created_at = terra_time(self.clock())
        user.is_authenticated = user.active = True

    def _with_reauth(self, connected: events.Body, new: User, old: User, settings: Settings) -> list[events.Body]:
        reauth = events.reconnected(new, old if settings.reauth_old_user == "present" else None)
        return [reauth, connected] if settings.reauth_order == "reauth_first" else [connected, reauth]

    def _emit(self, bodies: list[events.Body]) -> Emission:
        return self.outbox.emit([Webhook.of(body) for body in bodies])

    def _redirect(
        self,
        url: str | None,
        user_id: str | None,
        resource: str | None,
        reference_id: str | None,
        *,
        reason: str | None = None,
    ) -> str | None:
        if url is None:
            return None
        values = {"user_id": user_id, "resource": resource, "reference_id": reference_id}
        order = self.settings.redirect_order or ORDERS[self._redirects % len(ORDERS)]
        self._redirects += 1
        parameters = [(name, values[name]) for name in order if name not in self.settings.redirect_omits]
        if reason is not None:
            parameters.append(("reason", reason))
        return with_parameters(url, parameters)


def default_account(reference_id: str | None) -> str:
    """Return the account of a login if the end user names none."""
    return reference_id or "default-account"


def _changed_scopes(scopes: str | None, added: object, removed: object) -> str:
    revoked = set(removed.split(",")) if isinstance(removed, str) else set()
    kept = [scope for scope in (scopes or "").split(",") if scope and scope not in revoked]
    new = added.split(",") if isinstance(added, str) else []
    return ",".join([*kept, *(scope for scope in new if scope and scope not in kept)])
