"""The part of the state that is in the page's address, so that every view of it is a link."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import parse_qsl, urlencode


@dataclass(frozen=True, slots=True)
class Query:
    """What the page shows; an unusable value is ignored."""

    reference_id: str = ""
    """Only this user's connections and deliveries."""
    search: str = ""
    """Only connections with this text in their reference_id, user_id, provider or account."""
    page: int = 1
    """Of the connections."""
    deliveries: int = 0
    """Page of the deliveries. 0: the first one, or the one with the open delivery."""
    open: str = ""
    """The delivery whose details are shown: its delivery_id, or its trace id."""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Read it from the parameters of a request."""
        texts = {name: parameters.get(name, "").strip() for name in ("reference_id", "search", "open")}
        return cls(**texts, page=_number(parameters.get("page")) or 1, deliveries=_number(parameters.get("deliveries")))

    @classmethod
    def read(cls, text: str) -> Self:
        """Read it from the query string that a form has sent along."""
        return cls.of(dict(parse_qsl(text)))

    def but(self, **changes: object) -> Self:
        """Return it with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Return the query string, without what is the default."""
        values = {
            "reference_id": self.reference_id,
            "search": self.search,
            "page": self.page if self.page > 1 else "",
            "deliveries": self.deliveries or "",
            "open": self.open,
        }
        return urlencode({name: value for name, value in values.items() if value})


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 7 else 0  # noqa: PLR2004 - a page
