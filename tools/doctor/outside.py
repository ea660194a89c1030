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
from tools.doctor.finding import Finding, Sign, fine, unseen, wrong
from tools.doctor.inside import OWN_DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tools.doctor.inside import Secrets
    from tools.doctor.stack import Stack

PATIENCE: Final = timedelta(seconds=15)
CLOCKS_DIFFER_BY: Final = 30.0  # seconds
NOBODY: Final = "doctor"
"""A reference_id that belongs to no user."""
_ACCOUNT_REFUSED: Final = {httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN, httpx.codes.SERVICE_UNAVAILABLE}
_LOOPBACK: Final = {"127.0.0.1", "localhost"}


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
            stranger = self.http.get(url, params={"reference_id": NOBODY})
            if stranger.status_code != httpx.codes.UNAUTHORIZED:
                remedy = "It must answer 401: is ApiUrl this stack's own, and has nobody changed its routes?"
                yield wrong(what, f"{url} answers {stranger.status_code} to a call without a key", remedy)
                return
            yield fine(what, f"{self.stack.outputs['ApiUrl']} answers, and refuses strangers")
            yield from self._clock("the API's", stranger)
            for name, key in self.secrets.get("ServiceKeys", {}).items():
                headers = {"authorization": f"Bearer {key}"}
                yield self._key(name, self.http.get(url, params={"reference_id": NOBODY}, headers=headers))
        except httpx.TransportError as error:
            yield wrong(what, f"{url} cannot be reached: {error}", _reachable(url))

    def _key(self, name: str, answer: httpx.Response) -> Finding:
        what = f"Service key {name}"
        if answer.status_code == httpx.codes.OK:
            return fine(what, "opens the API")
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            remedy = "A changed key is known after two minutes. If it stays: the functions read another secret."
            return wrong(what, f"is refused ({answer.status_code})", remedy)
        return wrong(what, f"is answered {_answered(answer)}", "The functions' logs have the reason.")

    def _clock(self, whose: str, answer: httpx.Response) -> Iterator[Finding]:
        """Check that this computer's clock agrees with another one."""
        try:
            apart = self.clock() - parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError):
            yield unseen("Clock", f"{whose} is not told")
            return
        if abs(apart) <= CLOCKS_DIFFER_BY:
            yield fine("Clock", f"agrees with {whose}")
        else:
            how = "ahead of" if apart > 0 else "behind"
            remedy = "Set this computer's clock. If it is right, theirs is not: signatures are refused for that."
            yield wrong("Clock", f"this computer's is {abs(apart):.0f} s {how} {whose}", remedy)

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
                answer = self.http.post(url, content=body, headers=headers)
            except httpx.TransportError as error:
                yield wrong(what, f"{url} cannot be reached: {error}", _reachable(url))
                return
            yield _taken(what, url, answer)

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
                terra.user_info(UserId(f"{NOBODY}-{uuid4()}"), within=PATIENCE)
        except TerraRejected as error:
            put = f"make secrets STAGE={self.stack.stage}"
            remedy = f"Compare TerraDevId ({dev_id}) and the key with Terra's dashboard; {put} puts another key."
            yield wrong(what, f"are refused: {error}", remedy)
            return
        except (TerraUnavailable, TooManyRequests) as error:
            yield wrong(
                what, f"{api_url}: {error}", "Is TerraApiUrl right? Otherwise it is Terra's: https://status.tryterra.co"
            )
            return
        kind = "data token" if api_key.startswith(terra_api.DATA_TOKEN_PREFIX) else "API key"
        yield fine(what, f"dev-id {dev_id} and its {kind} are accepted")
        yield from self._widget(terra_api.credentials(dev_id, api_key))

    def _widget(self, credentials: Mapping[str, str]) -> Iterator[Finding]:
        what, url = "Terra's widget", self.stack.parameters["TerraWidgetUrl"]
        remedy = "Set TerraWidgetUrl to the address that Terra's documentation now gives for widget sessions."
        try:
            answer = self.http.post(url, json={"reference_id": NOBODY}, headers=credentials)
        except httpx.TransportError as error:
            yield wrong(what, f"{url} cannot be reached: {error}", remedy)
            return
        yield from self._clock("Terra's", answer)
        if answer.is_success and _address_in(answer):
            yield fine(what, "opens")
        elif answer.status_code == httpx.codes.GONE:
            yield wrong(what, f"{url} is switched off (410)", remedy)
        elif answer.status_code in _ACCOUNT_REFUSED:
            refused = refusal(answer.status_code, answer.content)
            yield wrong(what, str(refused), "docs/problems.md says more: terra_user_limit and the codes beside it.")
        else:
            yield wrong(what, f"{url} answers {answer.status_code}, and no address", remedy)

    def return_targets(self) -> Iterator[Finding]:
        """Check that users can be redirected to the return targets after a login."""
        what, parameters = "Return targets", self.stack.parameters
        text = parameters.get("ReturnTargets", "")
        try:
            targets = list(ReturnTargets.parse(text, is_local=self._is_local()))
        except Misconfigured as error:
            yield wrong(what, str(error), "Deploy with ReturnTargets mended: no function that needs it starts.")
            return
        if not targets:
            yield fine(what, "none: after a login people see a page of this stack")
        pages = []
        for name, target in targets:
            finding = self._target(f"Return target {name}", target.url)
            yield finding
            if target.is_page and finding.sign is Sign.FINE:
                pages.append(target.url)
            if target.fallback_url is not None:
                yield self._target(f"Return target {name}, without the app", target.fallback_url)
        packages = {target.android_package for _, target in targets if target.android_package}
        yield from app_links.look(self.http, pages, packages)

    def _target(self, what: str, address: str) -> Finding:
        if urlsplit(address).scheme not in {"http", "https"}:
            return fine(what, f"{address}: an app's own scheme, which only a phone can try")
        remedy = "People come here after a login: put the page there, or deploy with another address."
        try:
            answer = self.http.get(address)
        except httpx.TransportError as error:
            return wrong(what, f"{address} cannot be reached: {error}", remedy)
        if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE} or answer.is_server_error:
            return wrong(what, f"{address} answers {answer.status_code}", remedy)
        return fine(what, f"{address} answers {answer.status_code}")

    def user_tokens(self) -> Iterator[Finding]:
        """Check that users' tokens can be verified, if they are enabled."""
        issuer = self.stack.parameters.get("OidcIssuer", "")
        if not issuer:
            return
        what = "User tokens"
        remedy = "Compare OidcIssuer and OidcJwksUrl with your identity provider's. Without its keys no user gets in."
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
        return urlsplit(self.stack.parameters.get("PublicBaseUrl", "")).hostname in _LOOPBACK


def _taken(what: str, url: str, answer: httpx.Response) -> Finding:
    if answer.status_code == httpx.codes.OK:
        return fine(what, f"is taken at {url}. Whether Terra's dashboard names that address cannot be seen from here")
    remedy = (
        "A changed secret is known after two minutes. If it stays: the function reads another one, or a clock is off."
    )
    if answer.status_code == httpx.codes.NOT_FOUND:
        remedy = "WebhookUrl is not this stack's: compare PublicBaseUrl and the custom domain."
    elif answer.status_code != httpx.codes.UNAUTHORIZED:
        remedy = "The log of terra_webhook has the reason; docs/runbook.md#webhookfailing says what to do."
    return wrong(what, f"is answered {_answered(answer)} at {url}", remedy)


def _reachable(url: str) -> str:
    return f"Does {urlsplit(url).hostname} have a DNS entry and a certificate, and is this computer online?"


def _answered(answer: httpx.Response) -> str:
    """Return the status, and the code if it is one of this API's problems."""
    return f"{answer.status_code} {_object(answer).get('code', '')}".rstrip()


def _address_in(answer: httpx.Response) -> bool:
    return isinstance(_object(answer).get("url"), str)


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    """Return the JSON object of a response; empty if it is not a JSON object."""
    try:
        found = answer.json()
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
        texts.append(f"and {_counted(others, 'entry', 'entries')} of no use here")
    return ", ".join(texts)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
