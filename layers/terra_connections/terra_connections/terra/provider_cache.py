"""The cached list of providers. A stale list is served while Terra is unavailable."""

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
"""A provider that is enabled in Terra's dashboard is listed within this time."""
ASK_AGAIN_AFTER = timedelta(seconds=30)
"""The retry interval after a failure if there is a stale list, so that not every request waits for Terra."""
FIRST_WITHIN = timedelta(seconds=5)
REFRESH_WITHIN = timedelta(seconds=1.5)
"""Shorter than the first timeout, because there is a stale list and a user is waiting."""


@dataclass(frozen=True, slots=True)
class ProviderList:
    """The available providers."""

    providers: tuple[Provider, ...]
    is_stale: bool

    def as_json(self) -> dict[str, Any]:
        """Return the response of GET /providers."""
        return {"providers": [provider.as_json() for provider in self.providers]}

    def find(self, resource: str) -> Provider | None:
        """Return the provider with this id, if it is enabled."""
        return next((provider for provider in self.providers if provider.resource == resource), None)

    def without(self, resources: Sequence[str]) -> UnknownResource:
        """Return the error that these providers are not offered, with suggestions of similar names."""
        from difflib import get_close_matches  # noqa: PLC0415 - only a rejection needs it

        offered = [provider.resource for provider in self.providers]
        meant = [name for resource in resources for name in get_close_matches(resource, offered, n=1)]
        hint = f" Did you mean {', '.join(dict.fromkeys(meant))}?" if meant else ""
        message = (
            f"Terra does not offer {', '.join(resources)} to this account.{hint} "
            "GET /providers lists what can be connected."
        )
        return UnknownResource(message)


class ProviderCache:
    """Fetches the list of providers from Terra, and caches it."""

    def __init__(
        self, ask: Callable[[timedelta], Sequence[Provider]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._providers: tuple[Provider, ...] | None = None
        self._is_stale = False
        self._ask_at = 0.0

    def read(self) -> ProviderList:
        """Return the available providers; a stale list while Terra is down, slow or sends invalid responses.

        Raises:
            TerraUnavailable: a call to Terra failed, and there is no stale list.
        """
        if self._providers is None or self._clock() >= self._ask_at:
            self._refresh()
        return ProviderList(self._providers or (), self._is_stale)

    def check(self, resource: str) -> None:
        """Reject an SDK provider if the cached list is fresh. This does not call Terra.

        A provider that is not in the list passes: it may have been enabled since.

        Raises:
            SdkOnlyProvider: the provider has no login page.
        """
        if self._providers is not None and self._clock() < self._ask_at:
            provider = ProviderList(self._providers, self._is_stale).find(resource)
            if provider is not None and provider.type is ProviderType.SDK:
                raise _sdk_only(resource)

    def explained(
        self, refused: UnknownResource | InputRefused, resources: Sequence[str]
    ) -> UnknownResource | SdkOnlyProvider | InputRefused | TerraRejected:
        """Return a more specific error for a rejected login at these providers; the original one if there is none.

        Fetches the list from Terra if the cached one is not fresh.
        """
        try:
            listing = self.read()
        except TerraUnavailable as unreadable:
            # The list cannot be read either, so the URL or the dev-id is wrong, and not the request.
            return unreadable.__cause__ if isinstance(unreadable.__cause__, TerraRejected) else refused
        missing = [resource for resource in resources if listing.find(resource) is None]
        if missing:
            return listing.without(missing)
        providers = [provider for resource in resources if (provider := listing.find(resource))]
        if len(providers) == 1 and providers[0].type is ProviderType.SDK:
            return _sdk_only(providers[0].resource)
        return refused

    def require_one_of(self, resources: Sequence[str]) -> None:
        """Check that at least one of these providers is offered; passes if the list cannot be read.

        Raises:
            UnknownResource: none of them is offered.
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
                # One error for all causes: the caller can fix neither a dev-id nor a rate limit.
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
