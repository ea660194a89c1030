"""The bucket of payloads in S3: each body as it came, compressed with gzip, under the key of `data.delivery`."""

import gzip
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from terra_connections.data.delivery import DataDelivery
from terra_connections.data.payload import reference_id_in
from terra_connections.errors import NotDurable
from terra_connections.ids import ReferenceId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

_CREATE_ONLY = "*"
_CONTENT_TYPE = "application/gzip"
_ONE_PART_AT_ONCE = TransferConfig(use_threads=False)
"""Of 8 MB, which is the memory that an upload takes."""
_TRIES = 3
_PAUSE = 0.1  # seconds
_FASTEST = 1
"""gzip's level: a body of 5.6 MB takes a quarter of the processor time of the default, for a tenth more bytes."""
_PAGE = 250
"""Keys of one request: S3 accepts 1,000, but has to delete all of them within the time limit of the client."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        keys: in order.
        is_last: whether no key follows.
    """

    keys: tuple[str, ...]
    is_last: bool


class PayloadStore:
    """Payloads are created, read, listed by prefix, and deleted; never changed."""

    def __init__(self, client: "S3Client", bucket: str, *, sleep: "Callable[[float], None]" = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self.bucket = bucket

    def put(self, delivery: DataDelivery, body: bytes) -> None:
        """Store a body, unless it is stored already: its key is computed from what was signed.

        Raises:
            NotDurable: other requests for the same key were in the way for too long.
            ClientError, BotoCoreError: S3 is not available.
        """
        compressed = gzip.compress(body, _FASTEST, mtime=0)
        for number in range(1, _TRIES + 1):
            try:
                self._client.put_object(
                    Bucket=self.bucket,
                    Key=delivery.key,
                    Body=compressed,
                    ContentType=_CONTENT_TYPE,
                    IfNoneMatch=_CREATE_ONLY,
                    Metadata=delivery.as_metadata(),
                )
            except ClientError as error:
                status = _status_of(error)
                if status == HTTPStatus.PRECONDITION_FAILED:
                    return
                if status != HTTPStatus.CONFLICT:
                    raise
                self._sleep(_PAUSE * number)
            else:
                return
        message = "The object was written by other requests for too long."
        raise NotDurable(message, retry_after=1)

    def put_file(self, delivery: DataDelivery, file: IO[bytes]) -> None:
        """Store a compressed body, in parts if it is large; it replaces an object with the same key and content.

        Raises:
            ClientError, BotoCoreError: S3 is not available.
        """
        more = {"ContentType": _CONTENT_TYPE, "Metadata": delivery.as_metadata()}
        self._client.upload_fileobj(file, self.bucket, delivery.key, ExtraArgs=more, Config=_ONE_PART_AT_ONCE)

    def page(self, prefix: str, *, after: str = "", limit: int = _PAGE) -> Page:
        """List keys with a prefix, in order, after a key."""
        answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit)
        return Page(tuple(each["Key"] for each in answer.get("Contents", ())), is_last=not answer["IsTruncated"])

    def delivery(self, key: str) -> DataDelivery | None:
        """Return what is announced about an object; None if it is gone, or is not one of this stack."""
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=key)
            return DataDelivery.from_metadata(key, answer["Metadata"])
        except ClientError as error:
            if _status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        except (KeyError, ValueError):
            return None

    def reference_id(self, key: str) -> ReferenceId | None:
        """Return the `reference_id` in a report. No table has it: it is only in the body."""
        try:
            body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if _status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        return reference_id_in(json.loads(gzip.decompress(body)))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are deleted already.

        Raises:
            NotDurable: S3 has not deleted some of them.
        """
        objects: list[Any] = [{"Key": key} for key in keys]
        for start in range(0, len(objects), _PAGE):
            some: Sequence[Any] = objects[start : start + _PAGE]
            answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": some, "Quiet": True})
            if answer.get("Errors"):
                message = "S3 has not deleted some payloads."
                raise NotDurable(message, retry_after=1)

    def erase(self, prefix: str, *, until: "Callable[[], bool]") -> bool:
        """Delete every object with a prefix; return False if `until` became true before."""
        while not until():
            page = self.page(prefix)
            if page.keys:
                self.delete(page.keys)
            if page.is_last:
                return True
        return False


def _status_of(error: ClientError) -> int:
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status
