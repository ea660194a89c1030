"""The list of providers, kept for a while and served on while Terra is down."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from terra_connections.errors import (
    InputRefused,
    SdkOnlyProvider,
    TerraRejected,
    TerraUnavailable,
    TooManyRequests,
    UnknownResource,
)
from terra_connections.terra.providers import Provider, ProviderType

FRESH_FOR = timedelta(minutes=5)
"""A provider that is switched on in Terra's dashboard shows within this."""
ASK_AGAIN_AFTER = timedelta(seconds=30)
"""After a failure, while there is an old list to serve: people do not all wait for a Terra that is down."""
FIRST_WITHIN = timedelta(seconds=5)
REFRESH_WITHIN = timedelta(seconds=1.5)
"""Shorter: there is an old list, and a person is waiting for it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What can be connected, as far as is known now."""

    providers: tuple[Provider, ...]
    is_stale: bool

    def as_json(self) -> dict[str, Any]:
        """The contract's answer of GET /providers."""
        return {"providers": [provider.as_json() for provider in self.providers]}

    def find(self, resource: str) -> Provider | None:
        """The provider of this name, if it is enabled."""
        return next((provider for provider in self.providers if provider.resource == resource), None)

    def without(self, resources: Sequence[str]) -> UnknownResource:
        """The error that says that these are not offered, with the names that they may have been meant to be."""
        from difflib import get_close_matches  # noqa: PLC0415 - only a refusal needs it

        offered = [provider.resource for provider in self.providers]
        meant = [name for resource in resources for name in get_close_matches(resource, offered, n=1)]
        hint = f" Did you mean {', '.join(dict.fromkeys(meant))}?" if meant else ""
        message = (
            f"Terra does not offer {', '.join(resources)} to this account.{hint} "
            "GET /providers lists what can be connected."
        )
        return UnknownResource(message)


class Catalogue:
    """Asks Terra now and then, and serves what it said last."""

    def __init__(
        self, ask: Callable[[timedelta], Sequence[Provider]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._providers: tuple[Provider, ...] | None = None
        self._is_stale = False
        self._ask_at = 0.0

    def read(self) -> Listing:
        """What can be connected; an older list while Terra is down, slow or talks nonsense.

        Raises:
            TerraUnavailable: for any trouble with Terra, if there is no older list.
        """
        if self._providers is None or self._clock() >= self._ask_at:
            self._refresh()
        return Listing(self._providers or (), self._is_stale)

    def check(self, resource: str) -> None:
        """Refuse a provider of Terra's SDK, if a fresh list is here. Terra is not asked.

        A provider that the list does not have is left to Terra: it may have been enabled since.

        Raises:
            SdkOnlyProvider: it has no login page.
        """
        if self._providers is not None and self._clock() < self._ask_at:
            provider = Listing(self._providers, self._is_stale).find(resource)
            if provider is not None and provider.type is ProviderType.SDK:
                raise _sdk_only(resource)

    def explained(
        self, refused: UnknownResource | InputRefused, resources: Sequence[str]
    ) -> UnknownResource | SdkOnlyProvider | InputRefused | TerraRejected:
        """Why Terra refuses a login at these providers, as the list tells; the refusal itself where it does not.

        Asks Terra for the list if none is fresh.
        """
        try:
            listing = self.read()
        except TerraUnavailable as unreadable:
            # Not even the list is there: it is the address or the dev-id that is wrong, and not the request.
            return unreadable.__cause__ if isinstance(unreadable.__cause__, TerraRejected) else refused
        missing = [resource for resource in resources if listing.find(resource) is None]
        if missing:
            return listing.without(missing)
        providers = [provider for resource in resources if (provider := listing.find(resource))]
        if len(providers) == 1 and providers[0].type is ProviderType.SDK:
            return _sdk_only(providers[0].resource)
        return refused

    def require_one_of(self, resources: Sequence[str]) -> None:
        """Make sure that at least one of these is offered, as far as the list can be read.

        Raises:
            UnknownResource: none is.
        """
        try:
            listing = self.read()
        except TerraUnavailable:
            return
        if not any(listing.find(resource) for resource in resources):
            raise listing.without(resources)

    def _refresh(self) -> None:
        try:
            providers = tuple(self._ask(FIRST_WITHIN if self._providers is None else REFRESH_WITHIN))
        except (TerraRejected, TerraUnavailable, TooManyRequests) as error:
            wait = error.retry_after if isinstance(error, TooManyRequests) else 0
            if self._providers is None:
                # One answer for all of it: whoever asks for this list can mend neither a dev-id nor a rate limit.
                message = "Terra's list of providers cannot be read."
                raise TerraUnavailable(message, retry_after=max(wait, 5)) from error
            self._is_stale = True
            self._ask_at = self._clock() + max(float(wait), ASK_AGAIN_AFTER.total_seconds())
            return
        self._providers, self._is_stale = providers, False
        self._ask_at = self._clock() + FRESH_FOR.total_seconds()


def _sdk_only(resource: str) -> SdkOnlyProvider:
    message = (
        f"{resource} has no login page: it connects inside a phone app, through Terra's mobile SDK. "
        "Get a token from POST /mobile-tokens and pass it to the SDK."
    )
    return SdkOnlyProvider(message)
