"""A pending step of a backfill, as a message that names no user."""

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Step:
    """The next requests for one connection of a backfill.

    Attributes:
        number: that of the connection.
        tries: how often Terra did not respond in a row.
    """

    backfill_id: str
    number: int
    tries: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a message.

        Raises:
            ValueError: it is not one of this module.
        """
        try:
            step = cls(**json.loads(text))
        except TypeError:
            step = None
        if step is None or not isinstance(step.backfill_id, str) or type(step.number) is not int:
            message = "not a step of a backfill"
            raise ValueError(message)
        return step

    def as_text(self) -> str:
        """Return the message."""
        return json.dumps(asdict(self))
