"""Streams, queues and schedules invoke functions as at AWS, on the real DynamoDB Local and the real MiniStack."""

import asyncio
import json
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from local import database, invoke, messages
from local.gateway import Gateway, schedules
from local.gateway.template import queue_ids, read_stack
from local.gateway.triggers import QueueTrigger, ScheduleTrigger, StreamTrigger
from local.gateway.workers import Runtime
from local.lineage import Lineage
from local.template_file import TemplateError
from local.testing import Stack
from tests.support.gateway import RUNTIMES, until
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

Record = dict[str, Any]

KEY = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:PseudonymKey-AbCdEf"

TEMPLATE = """
Globals:
  Function: {Runtime: python3.13, Handler: handler.lambda_handler, Timeout: 5, MemorySize: 128}
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 1
      SqsManagedSseEnabled: true
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Dead: {Type: AWS::SQS::Queue}
  GivenUp: {Type: AWS::SQS::Queue}
  Follow:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/take
      Environment: {Variables: {MARKS: STREAM}}
      Events:
        Stream:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Things.StreamArn
            StartingPosition: TRIM_HORIZON
            BatchSize: 10
            MaximumRetryAttempts: 2
            BisectBatchOnFunctionError: true
            FunctionResponseTypes: [ReportBatchItemFailures]
            DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt GivenUp.Arn}}
  Take:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/take
      Environment: {Variables: {MARKS: QUEUED}}
  WorkToTake:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Work.Arn
      FunctionName: !Ref Take
      FunctionResponseTypes: [ReportBatchItemFailures]
  Nightly:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/echo
      Events:
        Night: {Type: ScheduleV2, Properties: {ScheduleExpression: 'cron(0 3 * * ? *)'}}
  Hourly:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/echo
      Events:
        Hour: {Type: Schedule, Properties: {Schedule: rate(1 hour), Input: '{"from": "the template"}'}}
"""

# Writes each batch to a file. A record fails, or the whole batch raises, when the record's text requests it.
TAKE = """
import json
import os


def text(record):
    return record["body"] if "body" in record else record["dynamodb"]["Keys"]["id"]["S"]


def name(record):
    return record["messageId"] if "body" in record else record["dynamodb"]["SequenceNumber"]


def lambda_handler(event, context):
    with open(os.environ["MARKS"], "a") as marks:
        marks.write(json.dumps(event["Records"]) + "\\n")
    if any("raise" in text(record) for record in event["Records"]):
        raise ValueError("as ordered")
    return {"batchItemFailures": [{"itemIdentifier": name(r)} for r in event["Records"] if "fail" in text(r)]}
"""

ECHO = """
def lambda_handler(event, context):
    if event.get("fail"):
        raise ValueError("as ordered")
    return event
"""

# Sends a message with the next number for each message, as a sweep does with its pages.
LOOP = """
import os

import boto3

sqs = boto3.client("sqs")


def lambda_handler(event, context):
    for record in event["Records"]:
        with open(os.environ["MARKS"], "a") as marks:
            marks.write(record["body"] + "\\n")
        if int(record["body"]) < 24:
            sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=str(int(record["body"]) + 1))
"""


@dataclass(frozen=True)
class SourceStack:
    """A stack with its own table, queues and functions."""

    root: Path
    gateway: Gateway
    log: list[str]
    table: str
    queues: dict[str, str]
    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    start: Callable[[], None]
    end: Callable[[], None]

    def write(self, *ids: str) -> None:
        for name in ids:
            self.dynamodb.put_item(TableName=self.table, Item={"id": {"S": name}, "n": {"N": "1"}})

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.queues["Work"], MessageBody=body)

    def batches(self, marks: str) -> list[list[Record]]:
        file = self.root / marks
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def streamed(self) -> list[list[str]]:
        return [[r["dynamodb"]["Keys"]["id"]["S"] for r in batch] for batch in self.batches("STREAM")]

    def processed(self) -> list[str]:
        return [record["body"] for batch in self.batches("QUEUED") for record in batch]

    def received(self, queue: str, seconds: float = 30) -> list[Record]:
        """Wait for messages, and delete them from the queue."""
        found: list[Record] = []

        def look() -> bool:
            answer = self.sqs.receive_message(QueueUrl=self.queues[queue], MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                found.append(dict(message))
                self.sqs.delete_message(QueueUrl=self.queues[queue], ReceiptHandle=message["ReceiptHandle"])
            return bool(found)

        assert until(look, seconds)
        return found


@contextmanager
def running_sources(
    stack: Stack, root: Path, text: str = TEMPLATE, *, runtime: Runtime = "auto"
) -> Iterator[SourceStack]:
    for name, source in (("take", TAKE), ("echo", ECHO), ("loop", LOOP)):
        (root / "functions" / name).mkdir(parents=True)
        (root / "functions" / name / "handler.py").write_text(source)
    template = root / "template.yaml"
    for marks in ("STREAM", "QUEUED"):
        text = text.replace(f"MARKS: {marks}", f"MARKS: {root / marks}")
    suffix = uuid4().hex[:8]
    for queue in ("Work", "Dead", "GivenUp"):
        text = text.replace(queue, f"{queue}{suffix}")
    template.write_text(text)
    table = f"Things{suffix}"
    declared = database.declared_tables(template)
    asyncio.run(database.make_tables(stack.dynamodb_url, {table: declared["Things"]}))
    messages.make(template, stack.aws_url)
    ids = {"Things": table, **messages.physical_ids(template, stack.aws_url)}
    log: list[str] = []
    gateway = Gateway(
        template,
        parameters={},
        physical_ids=ids,
        port=0,
        python=Path(sys.executable),
        dependencies=Path(sysconfig.get_path("purelib")),
        directory=root / "scratch",
        environment={"AWS_REGION": stack.region, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
        on_log=log.append,
        runtime=runtime,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> None:
        await gateway.start()
        await gateway.start_sources(dynamodb_url=stack.dynamodb_url, sqs_url=stack.aws_url)

    def start() -> None:
        asyncio.run_coroutine_threadsafe(begin(), loop).result(60)

    def end() -> None:
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(30)

    queues = {name.removesuffix(suffix): url for name, url in ids.items() if name.endswith(suffix)}
    services = messages.services(stack.dynamodb_url, stack.aws_url)
    dynamodb, sqs = services.tables(), services.queues()
    try:
        start()
        yield SourceStack(root, gateway, log, table, queues, dynamodb, sqs, start, end)
    finally:
        end()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        dynamodb.delete_table(TableName=table)
        dynamodb.close()
        sqs.close()


@pytest.fixture(scope="module")
def sources(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceStack]:
    with running_sources(stack, tmp_path_factory.mktemp("sources")) as running:
        yield running


class TestAStream:
    def test_a_write_is_passed_in_the_format_of_lambda(self, sources: SourceStack) -> None:
        before = datetime.now(UTC).timestamp()
        sources.write("first")
        sources.dynamodb.update_item(
            TableName=sources.table,
            Key={"id": {"S": "first"}},
            UpdateExpression="SET b = :b",
            ExpressionAttributeValues={":b": {"B": b"\x00\xff"}},
        )
        sources.dynamodb.delete_item(TableName=sources.table, Key={"id": {"S": "first"}})

        def records() -> list[Record]:
            return [r for b in sources.batches("STREAM") for r in b if r["dynamodb"]["Keys"]["id"]["S"] == "first"]

        assert until(lambda: len(records()) == 3)
        inserted, modified, removed = records()
        assert [r["eventName"] for r in (inserted, modified, removed)] == ["INSERT", "MODIFY", "REMOVE"]
        assert inserted["eventSource"] == "aws:dynamodb"
        assert f"table/{sources.table}/stream/" in inserted["eventSourceARN"]
        assert inserted["dynamodb"]["NewImage"] == {"id": {"S": "first"}, "n": {"N": "1"}}
        assert "OldImage" not in inserted["dynamodb"]
        assert modified["dynamodb"]["NewImage"]["b"] == {"B": "AP8="}
        assert "NewImage" not in removed["dynamodb"]
        # DynamoDB Local rounds this time to the minute.
        assert before - 60 <= inserted["dynamodb"]["ApproximateCreationDateTime"] <= before + 10

    def test_a_failing_record_is_retried_and_then_given_up(self, sources: SourceStack) -> None:
        begun = len(sources.streamed())
        sources.dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": sources.table, "Item": {"id": {"S": name}}}}
                for name in ("1-well", "2-fail", "3-well")
            ]
        )
        [report] = sources.received("GivenUp")
        content = json.loads(report["Body"])
        sources.write("4-well")
        assert until(lambda: any("4-well" in batch for batch in sources.streamed()))
        seen = sources.streamed()[begun:]
        tries = [batch for batch in seen if "2-fail" in batch]
        assert len(tries) == 3, "once and two retries"
        assert all(batch[0] == "2-fail" for batch in tries[1:]), "records before it are not repeated"
        position = content["DDBStreamBatchInfo"]
        assert content["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert position["batchSize"] == len(tries[-1])
        assert position["startSequenceNumber"] <= position["endSequenceNumber"]
        assert "2-fail" not in report["Body"], "the report has the position, not the content"

    def test_only_the_failing_record_of_a_raising_batch_is_given_up(self, sources: SourceStack) -> None:
        sources.dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": sources.table, "Item": {"id": {"S": name}}}}
                for name in ("5-well", "6-well", "7-raise", "8-well")
            ]
        )
        [report] = sources.received("GivenUp")
        assert json.loads(report["Body"])["DDBStreamBatchInfo"]["batchSize"] == 1
        assert until(lambda: ["8-well"] in sources.streamed() or any(b[-1] == "8-well" for b in sources.streamed()))
        processed = {
            name for batch in sources.streamed() if not any("raise" in name for name in batch) for name in batch
        }
        assert {"5-well", "6-well", "8-well"} <= processed

    def test_a_restart_continues_at_the_checkpoint(self, sources: SourceStack) -> None:
        sources.write("before")
        assert until(lambda: any("before" in batch for batch in sources.streamed()))
        # A stop between a function's work and its response repeats the batch, as on AWS.
        last = sources.batches("STREAM")[-1][-1]["dynamodb"]["SequenceNumber"]
        assert until(lambda: last in (sources.root / "scratch" / "checkpoints.json").read_text())
        sources.end()
        begun = len(sources.streamed())
        sources.write("meanwhile")
        sources.start()
        assert until(lambda: any("meanwhile" in batch for batch in sources.streamed()))
        assert [name for batch in sources.streamed()[begun:] for name in batch] == ["meanwhile"]


class TestAQueue:
    def test_a_message_is_passed_in_the_format_of_lambda_and_deleted(self, sources: SourceStack) -> None:
        sources.sqs.send_message(
            QueueUrl=sources.queues["Work"],
            MessageBody="hello",
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "greeting"}},
        )
        assert until(lambda: "hello" in sources.processed())
        [record] = [r for batch in sources.batches("QUEUED") for r in batch if r["body"] == "hello"]
        assert record["eventSource"] == "aws:sqs"
        assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-1:000000000000:Work")
        assert record["messageAttributes"]["kind"]["stringValue"] == "greeting"
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert until(lambda: self.left(sources) == ("0", "0"))

    def test_a_failing_message_is_retried_and_then_moved_to_the_dead_letter_queue(self, sources: SourceStack) -> None:
        sources.send("well", "fail")
        [dead] = sources.received("Dead")
        assert dead["Body"] == "fail"
        assert sources.processed().count("fail") == 2, "the queue's maxReceiveCount"
        assert sources.processed().count("well") == 1
        assert self.left(sources) == ("0", "0")

    def test_all_messages_of_a_raising_batch_are_retried(self, sources: SourceStack) -> None:
        sources.send("raise")
        [dead] = sources.received("Dead")
        assert dead["Body"] == "raise"
        assert any("as ordered" in line for line in sources.log)

    @staticmethod
    def left(sources: SourceStack) -> tuple[str, str]:
        found = sources.sqs.get_queue_attributes(QueueUrl=sources.queues["Work"], AttributeNames=["All"])["Attributes"]
        return found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]


class TestAChainOfMessages:
    """Lambda stops a function that a chain of its own messages has invoked 16 times (recursive loop detection)."""

    @staticmethod
    def template(stack: Stack, *properties: str) -> str:
        own = "".join(f"\n      {line}" for line in properties)
        loops = f"CodeUri: functions/loop{own}\n      Environment: {{Variables: {{MARKS: QUEUED, QUEUE: !Ref Work, "
        loops += f"AWS_ENDPOINT_URL_SQS: {stack.aws_url}, AWS_DEFAULT_REGION: {stack.region}}}}}"
        text = "CodeUri: functions/take\n      Environment: {Variables: {MARKS: QUEUED}}"
        assert text in TEMPLATE
        # On a busy machine an invocation may take long. Its message must not become visible again meanwhile.
        text = TEMPLATE.replace(text, loops).replace("Timeout: 5,", "Timeout: 60,")
        return text.replace("VisibilityTimeout: 1", "VisibilityTimeout: 120")

    @staticmethod
    def processed_numbers(sources: SourceStack) -> set[int]:
        file = sources.root / "QUEUED"
        return {int(line) for line in file.read_text().splitlines()} if file.exists() else set()

    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_the_17th_invocation_is_stopped_and_its_message_is_moved(
        self, stack: Stack, tmp_path: Path, runtime: Runtime
    ) -> None:
        with running_sources(stack, tmp_path, self.template(stack), runtime=runtime) as sources:
            sources.send("1")
            [dead] = sources.received("Dead", 120)
            assert dead["Body"] == "17"
            assert self.processed_numbers(sources) == set(range(1, 17))
            assert any(
                "RecursiveInvocationsDropped" in line and "RecursiveLoop: Allow" in line for line in list(sources.log)
            )
            # The message is gone, and another chain starts from the beginning.
            assert until(lambda: TestAQueue.left(sources) == ("0", "0"), 60)
            sources.send("20")
            assert until(lambda: self.processed_numbers(sources) >= {20, 21, 22, 23, 24}, 120)

    def test_a_chain_continues_if_the_template_allows_loops(self, stack: Stack, tmp_path: Path) -> None:
        with running_sources(stack, tmp_path, self.template(stack, "RecursiveLoop: Allow")) as sources:
            sources.send("1")
            assert until(lambda: 24 in self.processed_numbers(sources), 120)
            assert self.processed_numbers(sources) == set(range(1, 25))

    def test_without_a_dead_letter_queue_the_message_is_dropped_and_logged(self, stack: Stack, tmp_path: Path) -> None:
        text = self.template(stack).replace(
            "      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}\n", ""
        )
        assert "RedrivePolicy" not in text
        with running_sources(stack, tmp_path, text) as sources:
            sources.send("1")
            assert until(
                lambda: any("dropped: its queue has no dead-letter queue" in line for line in list(sources.log)), 120
            )
            assert until(lambda: TestAQueue.left(sources) == ("0", "0"), 60)
            assert self.processed_numbers(sources) == set(range(1, 17))

    def test_an_unknown_value_of_recursive_loop_is_rejected(self, stack: Stack, tmp_path: Path) -> None:
        template = tmp_path / "template.yaml"
        (tmp_path / "functions" / "loop").mkdir(parents=True)
        for name in ("take", "echo"):
            (tmp_path / "functions" / name).mkdir()
        template.write_text(self.template(stack, "RecursiveLoop: Permit"))
        with pytest.raises(TemplateError, match=r"Take\.RecursiveLoop: Permit is not Allow or Terminate"):
            read_stack(template, parameters={}, physical_ids={"Things": "t"}, region="eu-west-1")


class TestALineage:
    def test_a_trace_header_is_parsed_and_extended_by_a_function(self) -> None:
        chain = Lineage.parse("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
        once = chain.invoking("Take")
        twice = Lineage.parse(once.as_header()).invoking("Take").invoking("Other")
        assert (once.count("Take"), twice.count("Take"), twice.count("Other")) == (1, 2, 1)
        assert twice.root == "1-5759e988-bd862e3fe1be46a994272793"

    def test_a_malformed_trace_header_starts_a_chain(self) -> None:
        assert Lineage.parse("").root != Lineage.parse("Lineage;;=").root
        assert Lineage.parse("Lineage=25:a87bd80c:1|9").counts == {"a87bd80c": 1}


class TestASchedule:
    def test_it_runs_on_demand_with_the_event_of_the_scheduler(self, sources: SourceStack) -> None:
        answer = httpx.post(f"{sources.gateway.control_url}/schedules/Nightly").json()["answer"]
        assert (answer["detail-type"], answer["source"]) == ("Scheduled Event", "aws.scheduler")

    def test_its_input_becomes_the_event(self, sources: SourceStack) -> None:
        answer = httpx.post(f"{sources.gateway.control_url}/schedules/Hourly")
        assert answer.json() == {"answer": {"from": "the template"}}

    def test_a_function_without_a_schedule_returns_404(self, sources: SourceStack) -> None:
        assert httpx.post(f"{sources.gateway.control_url}/schedules/Take").status_code == 404
        assert httpx.get(f"{sources.gateway.control_url}/schedules/Nightly").status_code == 405

    def test_it_runs_from_the_command_line_by_the_name_of_its_folder(
        self, sources: SourceStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "stack.json").write_text(json.dumps({"control_url": sources.gateway.control_url}))
        assert invoke.main(["hourly", "--directory", str(tmp_path)]) == 0
        assert json.loads(capsys.readouterr().out) == {"from": "the template"}
        assert invoke.main(["take", "--directory", str(tmp_path)]) == 1
        assert invoke.main(["hourly", "--directory", str(tmp_path / "nowhere")]) == 1
        assert "make run" in capsys.readouterr().err

    def test_a_rate_runs_repeatedly_and_continues_after_a_failure(self, stack: Stack, tmp_path: Path) -> None:
        text = TEMPLATE.replace("rate(1 hour)", "rate(1 minute)").replace('"from": "the template"', '"fail": true')
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("local.gateway.template.schedules.rate", lambda _: timedelta(seconds=0.2))
            with running_sources(stack, tmp_path, text) as sources:
                assert until(lambda: sum("as ordered" in line for line in sources.log) >= 2)

    @pytest.mark.parametrize(
        ("expression", "every"),
        [
            ("rate(1 minute)", timedelta(minutes=1)),
            ("rate(6 hours)", timedelta(hours=6)),
            ("rate(2 days)", timedelta(days=2)),
            ("cron(0 3 * * ? *)", None),
        ],
    )
    def test_a_rate_is_parsed(self, expression: str, every: timedelta | None) -> None:
        assert schedules.rate(expression) == every


class TestTheTemplate:
    @pytest.mark.parametrize(
        ("event", "message"),
        [
            (
                "{Type: SNS, Properties: {Topic: 'arn:aws:sns:eu-west-1:1:t'}}",
                "events of sns.amazonaws.com are not supported",
            ),
            (
                "{Type: EventBridgeRule, Properties: {Pattern: {source: [a]}}}",
                "rules with an event pattern are not supported",
            ),
            (
                "{Type: SQS, Properties: {Queue: 'arn:aws:sqs:eu-west-1:1:other'}}",
                "only the stream of a table and a queue",
            ),
            (
                "{Type: DynamoDB, Properties: {Stream: !GetAtt Table.StreamArn, StartingPosition: AT_TIMESTAMP}}",
                "StartingPosition: AT_TIMESTAMP is not",
            ),
            (
                "{Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, FilterCriteria: {Filters: [{Pattern: a}]}}}",
                "FilterCriteria is not supported",
            ),
        ],
    )
    def test_an_unsupported_event_source_is_rejected(self, tmp_path: Path, event: str, message: str) -> None:
        template = tmp_path / "template.yaml"
        template.write_text(
            f"""
Resources:
  Table: {{Type: AWS::DynamoDB::Table}}
  Queue: {{Type: AWS::SQS::Queue}}
  F:
    Type: AWS::Serverless::Function
    Properties: {{CodeUri: ., Handler: h.h, Runtime: python3.13, Events: {{E: {event}}}}}
"""
        )
        with pytest.raises(TemplateError, match=message):
            read_stack(template, parameters={}, physical_ids={"Table": "t"}, region="eu-west-1")

    def test_a_rule_for_another_target_is_ignored(self, tmp_path: Path) -> None:
        template = tmp_path / "template.yaml"
        template.write_text(
            """
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Rule:
    Type: AWS::Events::Rule
    Properties: {EventPattern: {source: [a]}, Targets: [{Id: topic, Arn: !Ref Topic}]}
"""
        )
        assert read_stack(template, parameters={}, physical_ids={}, region="eu-west-1").triggers == ()

    @pytest.mark.parametrize("safe_deployments", ["false", "true"])
    def test_the_event_sources_of_the_project_are_read(self, safe_deployments: str) -> None:
        own = dict.fromkeys(("TerraSecretArn", "SigningSecretsArn", "ServiceKeysArn"), "arn")
        stack = read_stack(
            ROOT / "template.yaml",
            # With safe deployments, they invoke the aliases of the functions.
            parameters={"TerraDevId": "d", "SafeDeployments": safe_deployments, **own},
            physical_ids={"Connections": "C", "Sessions": "S", "Deliveries": "D", "PseudonymKey": KEY},
            secrets={KEY: '{"key": "k"}'},
            region="eu-west-1",
        )
        queue = queue_ids("UnpublishedEvents", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1")["UnpublishedEvents"]
        assert StreamTrigger("PublishEvents", "C", "TRIM_HORIZON", 50, 20, True, True, queue) in stack.triggers  # noqa: FBT003
        kinds = {type(trigger) for trigger in stack.triggers}
        assert kinds == {StreamTrigger, QueueTrigger, ScheduleTrigger}
