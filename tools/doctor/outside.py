"""Checks of a stack from the outside, as back ends, Terra and browsers call it, and of the services that it calls."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import jwt

from terra_connections.auth.jwks import Issuer, IssuerUnreachable, jwk_set
from terra_connections.errors import Misconfigured, TerraRejected, TerraUnavailable, TooManyRequests
from terra_connections.ids import UserId
from terra_connections.sessions.return_target import ReturnTargets
from terra_connections.terra import client as terra_api
from terra_connections.terra import transport
from terra_connections.terra.responses import refusal
from terra_connections.webhooks.signature import sign
from tools.doctor import app_links
from tools.doctor.finding import Finding, Sign, fine, inconclusive, wrong
from tools.doctor.inside import OWN_DELIVERY
from tools.environment import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tools.doctor.inside import Secrets
    from tools.doctor.stack import Stack

TIMEOUT: Final = timedelta(seconds=15)
CLOCKS_DIFFER_BY: Final = 30.0  # seconds
UNKNOWN_USER: Final = "doctor"
"""A reference_id that belongs to no user."""
_ACCOUNT_REFUSED: Final = {httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN, httpx.codes.SERVICE_UNAVAILABLE}


@dataclass(frozen=True)
class Doctor:
    """Runs the checks from the outside.

    Attributes:
        stack: the stack to check.
        secrets: its usable secrets.
        http: the client to use.
        clock: returns the unix time in seconds.
    """

    stack: Stack
    secrets: Secrets
    http: httpx.Client
    clock: Callable[[], float]

    def api(self) -> Iterator[Finding]:
        """Check that the API rejects calls without a key, and accepts its service keys."""
        what, url = "API", f"{self.stack.outputs['ApiUrl']}/connections"
        try:
            unauthenticated = self.http.get(url, params={"reference_id": UNKNOWN_USER})
            if unauthenticated.status_code != httpx.codes.UNAUTHORIZED:
                remedy = "401 is expected: check that ApiUrl is this stack's, and that its routes are unchanged."
                yield wrong(what, f"{url} returns {unauthenticated.status_code} for a call without a key", remedy)
                return
            yield fine(what, f"{self.stack.outputs['ApiUrl']} is reachable, and rejects calls without a key")
            yield from self._clock("the API's", unauthenticated)
            for name, key in self.secrets.get("ServiceKeys", {}).items():
                headers = {"authorization": f"Bearer {key}"}
                yield self._key(name, self.http.get(url, params={"reference_id": UNKNOWN_USER}, headers=headers))
        except httpx.TransportError as error:
            yield wrong(what, f"{url} cannot be reached: {error}", _reachable(url))

    def _key(self, name: str, response: httpx.Response) -> Finding:
        what = f"Service key {name}"
        if response.status_code == httpx.codes.OK:
            return fine(what, "is accepted")
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            remedy = "Changed keys apply after two minutes. If this persists, the functions read another secret."
            return wrong(what, f"is rejected ({response.status_code})", remedy)
        return wrong(what, f"returns {_status_of(response)}", "See the functions' logs.")

    def _clock(self, clock_of: str, response: httpx.Response) -> Iterator[Finding]:
        """Check that this computer's clock agrees with another one."""
        try:
            difference = self.clock() - parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            yield inconclusive("Clock", f"{clock_of} is unknown")
            return
        if abs(difference) <= CLOCKS_DIFFER_BY:
            yield fine("Clock", f"agrees with {clock_of}")
        else:
            direction = "ahead of" if difference > 0 else "behind"
            remedy = "Set this computer's clock. If it is right, the other one is wrong, and signatures are rejected."
            yield wrong("Clock", f"this computer's is {abs(difference):.0f} s {direction} {clock_of}", remedy)

    def webhook(self) -> Iterator[Finding]:
        """Check that a delivery signed as Terra signs is accepted."""
        url = self.stack.outputs["WebhookUrl"]
        for name, secret in self.secrets.get("SigningSecrets", {}).items():
            what = f"Webhook, signed with {name}"
            # Two equal deliveries in one second would count as one.
            body = json.dumps({"type": OWN_DELIVERY, "status": "success", "message": f"doctor {uuid4()}"}).encode()
            t = str(int(self.clock()))
            headers = {"content-type": "application/json", "x-terra-signature": f"t={t},v1={sign(body, secret, t)}"}
            try:
                response = self.http.post(url, content=body, headers=headers)
            except httpx.TransportError as error:
                yield wrong(what, f"{url} cannot be reached: {error}", _reachable(url))
                return
            yield _delivery(what, url, response)

    def terra(self) -> Iterator[Finding]:
        """Check that Terra accepts the credentials, and that its widget is at the expected address."""
        api_key, dev_id = self.secrets.get("TerraSecret", {}).get("api_key"), self.stack.parameters["TerraDevId"]
        if api_key is None:
            return
        what = "Terra's credentials"
        api_url = self.stack.parameters["TerraApiUrl"]
        try:
            with transport.client() as http:
                terra = terra_api.TerraClient(
                    http,
                    api_url=api_url,
                    widget_url=self.stack.parameters["TerraWidgetUrl"],
                    dev_id=dev_id,
                    api_key=lambda: api_key,
                )
                terra.user_info(UserId(f"{UNKNOWN_USER}-{uuid4()}"), within=TIMEOUT)
        except TerraRejected as error:
            put = f"make secrets STAGE={self.stack.stage}"
            remedy = f"Compare TerraDevId ({dev_id}) and the key with Terra's dashboard; {put} stores another key."
            yield wrong(what, f"are rejected: {error}", remedy)
            return
        except (TerraUnavailable, TooManyRequests) as error:
            yield wrong(what, f"{api_url}: {error}", "Check TerraApiUrl, then https://status.tryterra.co")
            return
        kind = "data token" if api_key.startswith(terra_api.DATA_TOKEN_PREFIX) else "API key"
        yield fine(what, f"dev-id {dev_id} and its {kind} are accepted")
        yield from self._widget(terra_api.credentials(dev_id, api_key))

    def _widget(self, credentials: Mapping[str, str]) -> Iterator[Finding]:
        what, url = "Terra's widget", self.stack.parameters["TerraWidgetUrl"]
        remedy = "Set TerraWidgetUrl to the address of widget sessions in Terra's documentation."
        try:
            response = self.http.post(url, json={"reference_id": UNKNOWN_USER}, headers=credentials)
        except httpx.TransportError as error:
            yield wrong(what, f"{url} cannot be reached: {error}", remedy)
            return
        yield from self._clock("Terra's", response)
        if response.is_success and _address_in(response):
            yield fine(what, "is reachable")
        elif response.status_code == httpx.codes.GONE:
            yield wrong(what, f"{url} is switched off (410)", remedy)
        elif response.status_code in _ACCOUNT_REFUSED:
            refused = refusal(response.status_code, response.content)
            yield wrong(what, str(refused), "See terra_user_limit and the following codes in docs/problems.md.")
        else:
            yield wrong(what, f"{url} returns {response.status_code} without an address", remedy)

    def return_targets(self) -> Iterator[Finding]:
        """Check that users can be redirected to the return targets after a login."""
        what, parameters = "Return targets", self.stack.parameters
        text = parameters.get("ReturnTargets", "")
        try:
            targets = list(ReturnTargets.parse(text, is_local=self._is_local()))
        except Misconfigured as error:
            yield wrong(what, str(error), "Correct ReturnTargets and deploy: functions that need it cannot start.")
            return
        if not targets:
            yield fine(what, "none: after a login users see a page of this stack")
        pages = []
        for name, target in targets:
            finding = self._target(f"Return target {name}", target.url)
            yield finding
            if target.is_page and finding.sign is Sign.FINE:
                pages.append(target.url)
            if target.fallback_url is not None:
                yield self._target(f"Return target {name}, without the app", target.fallback_url)
        packages = {target.android_package for _, target in targets if target.android_package}
        yield from app_links.check(self.http, pages, packages)

    def _target(self, what: str, address: str) -> Finding:
        if urlsplit(address).scheme not in {"http", "https"}:
            return fine(what, f"{address}: an app's own scheme, which can only be tested on a phone")
        remedy = "Users are redirected to it after a login: publish the page, or deploy with another address."
        try:
            response = self.http.get(address)
        except httpx.TransportError as error:
            return wrong(what, f"{address} cannot be reached: {error}", remedy)
        if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE} or response.is_server_error:
            return wrong(what, f"{address} returns {response.status_code}", remedy)
        return fine(what, f"{address} returns {response.status_code}")

    def user_tokens(self) -> Iterator[Finding]:
        """Check that users' tokens can be verified, if they are enabled."""
        issuer = self.stack.parameters.get("OidcIssuer", "")
        if not issuer:
            return
        what = "User tokens"
        remedy = (
            "Compare OidcIssuer and OidcJwksUrl with your identity provider's: without its keys, tokens are rejected."
        )
        jwks_url = self.stack.parameters.get("OidcJwksUrl", "")
        try:
            entries = Issuer(issuer, jwks_url=jwks_url, is_local=self._is_local()).jwks()
        except (Misconfigured, IssuerUnreachable) as error:
            yield wrong(what, str(error), remedy)
            return
        algorithms = self.stack.parameters.get("OidcAlgorithms", "RS256,ES256").replace(" ", "").split(",")
        keys = _keys(entries, algorithms)
        if keys is None:
            yield wrong(what, f"{issuer} has no key that verifies signatures by {', '.join(algorithms)}", remedy)
        else:
            yield fine(what, f"{issuer} has {keys}")

    def _is_local(self) -> bool:
        return urlsplit(self.stack.parameters.get("PublicBaseUrl", "")).hostname in LOOPBACK


def _delivery(what: str, url: str, response: httpx.Response) -> Finding:
    if response.status_code == httpx.codes.OK:
        return fine(what, f"is accepted at {url}. Check that Terra's dashboard has this address")
    remedy = (
        "Changed secrets apply after two minutes. "
        "If this persists, the function reads another one, or a clock is wrong."
    )
    if response.status_code == httpx.codes.NOT_FOUND:
        remedy = "WebhookUrl is not this stack's: compare PublicBaseUrl and the custom domain."
    elif response.status_code != httpx.codes.UNAUTHORIZED:
        remedy = "See the log of terra_webhook, and docs/runbook.md#webhookfailing."
    return wrong(what, f"gets {_status_of(response)} from {url}", remedy)


def _reachable(url: str) -> str:
    return (
        f"Check the DNS entry and the certificate of {urlsplit(url).hostname}, and this computer's network connection."
    )


def _status_of(response: httpx.Response) -> str:
    """Return the status, and the code if it is one of this API's problems."""
    return f"{response.status_code} {_object(response).get('code', '')}".rstrip()


def _address_in(response: httpx.Response) -> bool:
    return isinstance(_object(response).get("url"), str)


def _object(response: httpx.Response) -> Mapping[str, Any]:
    """Return the JSON object of a response; empty if it is not a JSON object."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _keys(entries: list[object], algorithms: list[str]) -> str | None:
    """Return which keys of a JWK Set verify signatures, read as the authorizer reads them; None if none does."""
    usable = []
    for entry in entries:
        with suppress(jwt.PyJWKSetError):
            usable.append(jwk_set([entry], algorithms).keys[0])
    if not usable:
        return None
    texts = [_counted(len(usable), "key")]
    ids = Counter(key.key_id for key in usable)
    texts += [f"{count} of them under the key id {kid!r}" for kid, count in ids.items() if count > 1]
    if others := len(entries) - len(usable):
        texts.append(f"and {_counted(others, 'entry', 'entries')} unusable")
    return ", ".join(texts)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
