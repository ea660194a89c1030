"""Clients for the services that event sources read. boto3 blocks, so calls run in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2, "mode": "standard"})


@dataclass(frozen=True, slots=True)
class Services:
    """The endpoints of the tables and queues, and the credentials for them."""

    dynamodb_url: str
    sqs_url: str
    region: str
    access_key: str
    secret_key: str

    def tables(self) -> "DynamoDBClient":
        """A client for tables."""
        return self._session().client("dynamodb", endpoint_url=self.dynamodb_url, config=_CONFIG)

    def streams(self) -> "DynamoDBStreamsClient":
        """A client for tables' streams."""
        return self._session().client("dynamodbstreams", endpoint_url=self.dynamodb_url, config=_CONFIG)

    def queues(self) -> "SQSClient":
        """A client for queues."""
        return self._session().client("sqs", endpoint_url=self.sqs_url, config=_CONFIG)

    def buckets(self) -> "S3Client":
        """A client for buckets."""
        return self._session().client("s3", endpoint_url=self.sqs_url, config=_CONFIG)

    def _session(self) -> boto3.Session:
        # One session for each client: threads must not share sessions.
        return boto3.Session(self.access_key, self.secret_key, region_name=self.region)


class Threads:
    """Runs blocking calls beside the event loop, in two threads, so that sending does not wait for receiving."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of the work."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def end(self) -> None:
        """Wait for the running calls."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
