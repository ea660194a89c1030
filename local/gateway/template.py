"""The functions, routes, authorizers and triggers of template.yaml, with every reference resolved.

AWS's own translator makes plain CloudFormation of the template (`sam`). Only what the gateway needs of it is resolved
(`intrinsics`). Anything that cannot be resolved raises a `TemplateError` that names the place.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from local.gateway import filters, sam, schedules
from local.gateway.intrinsics import ACCOUNT_ID, Resolver, as_list, as_mapping, as_text, parameter_values
from local.gateway.triggers import (
    QUEUE_BATCH,
    QUEUE_CONCURRENCY,
    STREAM_BATCH,
    QueueTrigger,
    ScheduleTrigger,
    StreamTrigger,
    Trigger,
)
from local.template_file import TemplateError, parse

NONE: Final = "NONE"
"""The name of SAM for the authorizer of a public route."""
ALIAS: Final = "AWS::Lambda::Alias"
API: Final = "AWS::ApiGatewayV2::Api"
BUCKET: Final = "AWS::S3::Bucket"
EVENT_BUS: Final = "AWS::Events::EventBus"
EVENT_SOURCE_MAPPING: Final = "AWS::Lambda::EventSourceMapping"
FUNCTION: Final = "AWS::Lambda::Function"
LAYER: Final = "AWS::Lambda::LayerVersion"
PERMISSION: Final = "AWS::Lambda::Permission"
QUEUE: Final = "AWS::SQS::Queue"
RULE: Final = "AWS::Events::Rule"
SCHEDULE: Final = "AWS::Scheduler::Schedule"
TABLE: Final = "AWS::DynamoDB::Table"
DEFAULT_ROUTE: Final = "$default"
ALLOW: Final = "Allow"
TERMINATE: Final = "Terminate"
"""A value of a function's RecursiveLoop."""

_ANY_METHOD: Final = "x-amazon-apigateway-any-method"
_AUTHORIZER: Final = "x-amazon-apigateway-authorizer"
_CORS: Final = "x-amazon-apigateway-cors"
_INTEGRATION: Final = "x-amazon-apigateway-integration"
_HEADER_SOURCE: Final = "$request.header."
_INVOCATION: Final = re.compile(r"arn:aws:apigateway:[^:]*:lambda:path/2015-03-31/functions/(?P<arn>.*)/invocations")
# A function's name or ARN, which may end with an alias.
_FUNCTION_NAME: Final = re.compile(r"(?:arn:aws:lambda:[^:]*:[^:]*:function:)?(?P<name>[^:]*)(?::[^:]*)?")
# Only the forms that name the newest version of a secret by its ARN.
_SECRET_REFERENCE: Final = re.compile(
    r"\{\{resolve:secretsmanager:(?P<arn>arn:[^:}]*:secretsmanager:[^:}]*:[^:}]*:secret:[^:}]*)"
    r"(?::SecretString(?::(?P<key>[^:}]*))?)?:{0,2}\}\}"
)
# The services that are emulated here, of those that need a permission to invoke a function.
_INVOKERS: Final = frozenset({"apigateway.amazonaws.com", "events.amazonaws.com"})
# Settings that would change which records a function gets, and are not implemented here.
_UNSUPPORTED_OF_SOURCES: Final = frozenset({"TumblingWindowInSeconds", "StartingPositionTimestamp"})


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function, resolved."""

    logical_id: str
    name: str
    handler: str
    runtime: str
    timeout: timedelta
    memory_mb: int
    folder: Path
    layers: tuple[Path, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AuthorizerSpec:
    """A Lambda authorizer of the API."""

    name: str
    function: str
    headers: tuple[str, ...]
    reauthorize_every: timedelta


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route: `METHOD /path` or `$default`."""

    method: str
    path: str
    function: str
    authorizer: str | None

    @property
    def key(self) -> str:
        """The route key in API Gateway's notation."""
        return DEFAULT_ROUTE if self.path == DEFAULT_ROUTE else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class CorsSpec:
    """The API's CorsConfiguration."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: int | None
    credentials: bool


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that the gateway reads from the template."""

    api_id: str
    region: str
    functions: Mapping[str, FunctionSpec]
    routes: tuple[RouteSpec, ...]
    authorizers: Mapping[str, AuthorizerSpec]
    cors: CorsSpec | None
    triggers: tuple[Trigger, ...]


def read_stack(
    template: Path,
    *,
    parameters: Mapping[str, str],
    physical_ids: Mapping[str, str],
    region: str,
    secrets: Mapping[str, str] | None = None,
) -> Stack:
    """Read, transform and resolve the template.

    Args:
        template: Path of the template; CodeUri and ContentUri are relative to its folder.
        parameters: Values of the template's parameters; the others keep their defaults.
        physical_ids: Values of `Ref` for a resource (`Connections`) and `GetAtt` for an attribute (`Connections.Arn`).
        region: The value of `AWS::Region`.
        secrets: The values of secrets, by their ARNs, for dynamic references (`{{resolve:secretsmanager:...}}`).

    Raises:
        TemplateError: Something is missing, unknown or unresolvable.
    """
    document = parse(template)
    values = parameter_values(document, parameters)
    return _Reader(
        sam.transform(document, parameters=parameters, region=region),
        root=template.resolve().parent,
        parameters=values,
        physical_ids=physical_ids,
        region=region,
        secrets=secrets or {},
    ).stack()


class _Reader:
    """Converts plain CloudFormation to the resolved stack."""

    def __init__(
        self,
        document: Mapping[str, object],
        *,
        root: Path,
        parameters: Mapping[str, object],
        physical_ids: Mapping[str, str],
        region: str,
        secrets: Mapping[str, str],
    ) -> None:
        self._root = root
        self._secrets = secrets
        self._region = region
        resources = as_mapping(document.get("Resources", {}), "Resources")
        self._resources = {name: as_mapping(resource, name) for name, resource in resources.items()}
        self._physical_ids = {**self._own_physical_ids(), **physical_ids}
        self._resolver = Resolver(document, parameters, self._physical_ids, region)
        for name in self._of_type(ALIAS):
            function = self._physical_ids[f"{self._value(name, 'FunctionName')}.Arn"]
            self._physical_ids[name] = f"{function}:{self._value(name, 'Name')}"
        self._layers = {self._physical_ids[name]: self._modules(name) for name in self._of_type(LAYER)}
        self._functions = {name: self._function(name) for name in self._of_type(FUNCTION)}

    def stack(self) -> Stack:
        self._refuse_other_invokers()
        apis = self._of_type(API)
        if len(apis) > 1:
            message = f"more than one {API}: {', '.join(apis)}; the local gateway serves one"
            raise TemplateError(message)
        body = self._body(apis[0]) if apis else {}
        authorizers = self._authorizers(body)
        return Stack(
            api_id=self._physical_ids[apis[0]] if apis else "local",
            region=self._region,
            functions=self._functions,
            routes=tuple(self._routes(body, authorizers)),
            authorizers=authorizers,
            cors=_cors(body),
            triggers=(*self._schedules(), *(self._source(name) for name in self._of_type(EVENT_SOURCE_MAPPING))),
        )

    def _own_physical_ids(self) -> dict[str, str]:
        """Names given here: of functions, layers and the API, and of queues and buses unless the caller names them."""
        own: dict[str, str] = {}
        for name, resource in self._resources.items():
            kind = resource.get("Type")
            if kind == FUNCTION:
                own[name] = name
                own[f"{name}.Arn"] = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:function:{name}"
            elif kind == LAYER:
                own[name] = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:layer:{name}:1"
            elif kind == API:
                own[name] = "local"
            elif kind == QUEUE:
                own |= queue_ids(name, f"https://sqs.{self._region}.amazonaws.com", self._region)
            elif kind == EVENT_BUS:
                own |= event_bus_ids(name, self._region)
            elif kind == BUCKET:
                own |= bucket_ids(name)
        return own

    def _of_type(self, kind: str) -> list[str]:
        return [
            name
            for name, resource in self._resources.items()
            if resource.get("Type") == kind
            and ("Condition" not in resource or self._resolver.is_met(resource["Condition"], name))
        ]

    def _properties(self, name: str) -> dict[str, object]:
        return as_mapping(self._resources[name].get("Properties", {}), name)

    def _value(self, name: str, key: str, otherwise: object = None) -> str:
        """A property of a resource, as text."""
        where = f"{name}.{key}"
        return as_text(self._resolver.resolve(self._properties(name).get(key, otherwise), where), where)

    # -- functions -----------------------------------------------------------------------------------------------------

    def _function(self, name: str) -> FunctionSpec:
        properties = self._properties(name)
        where = f"{name}.Environment"
        variables = as_mapping(properties.get("Environment", {}), where).get("Variables", {})
        environment = as_mapping(self._resolver.resolve(variables, where), where)
        layers = as_list(self._resolver.resolve(properties.get("Layers", []), f"{name}.Layers"), f"{name}.Layers")
        return FunctionSpec(
            logical_id=name,
            name=self._physical_ids[name],
            handler=self._value(name, "Handler"),
            runtime=self._value(name, "Runtime"),
            timeout=timedelta(seconds=int(self._value(name, "Timeout", 3))),
            memory_mb=int(self._value(name, "MemorySize", 128)),
            folder=self._folder(properties.get("Code"), f"{name}.CodeUri"),
            layers=tuple(path for layer in layers for path in self._layer(layer, f"{name}.Layers")),
            environment={
                key: self._with_secrets(as_text(item, f"{where}.{key}"), f"{where}.{key}")
                for key, item in environment.items()
            },
        )

    def _with_secrets(self, text: str, where: str) -> str:
        """The text with its dynamic references to secrets resolved, as CloudFormation does on deployment."""

        def held(match: re.Match[str]) -> str:
            arn, key = match["arn"], match["key"]
            if arn not in self._secrets:
                message = f"{where}: the secret {arn} is not known here"
                raise TemplateError(message)
            if not key:
                return self._secrets[arn]
            value = as_mapping(json.loads(self._secrets[arn]), where).get(key)
            return as_text(value, f"{where} ({key} of {arn})")

        text = _SECRET_REFERENCE.sub(held, text)
        if "{{resolve:" in text:
            message = f"{where}: only {{{{resolve:secretsmanager:<ARN>:SecretString:<key>}}}} is resolved here"
            raise TemplateError(message)
        return text

    def _layer(self, arn: object, where: str) -> tuple[Path, ...]:
        """What a layer adds to the module path."""
        for known, folders in self._layers.items():
            if known == arn:
                return folders
        message = f"{where}: only a layer of this template can be used here, not {arn}"
        raise TemplateError(message)

    def _modules(self, layer: str) -> tuple[Path, ...]:
        folder = self._folder(self._properties(layer).get("Content"), f"{layer}.ContentUri")
        if (folder / "python").is_dir():
            return (folder / "python",)
        if any(folder.glob("*.py")) or any(folder.glob("*/__init__.py")):
            return (folder,)
        return ()  # only a list of requirements: the functions' interpreter has these packages

    def _folder(self, code: object, where: str) -> Path:
        """The folder of a function's or layer's code; `sam.transform` keeps its path in the S3 key."""
        key = as_mapping(code, where).get("S3Key")
        path = as_text(self._resolver.resolve(key, where), where)
        folder = (self._root / path).resolve()
        if folder.is_dir():
            return folder
        message = f"{where}: there is no folder {path}"
        raise TemplateError(message)

    def _named(self, function: str, where: str) -> str:
        """The logical id of the function with this name or ARN; both may end with an alias."""
        match = _FUNCTION_NAME.fullmatch(function)
        for name, spec in self._functions.items():
            if match and match["name"] == spec.name:
                return name
        message = f"{where}: {function} is no function of this template"
        raise TemplateError(message)

    # -- the API -------------------------------------------------------------------------------------------------------

    def _body(self, api: str) -> dict[str, object]:
        """The API as an OpenAPI document."""
        where = f"{api}.Body"
        return as_mapping(self._resolver.resolve(self._properties(api).get("Body"), where), where)

    def _invoked(self, uri: object, where: str) -> str:
        """The function that a URI of API Gateway invokes."""
        match = _INVOCATION.fullmatch(as_text(uri, where))
        if match is None:
            message = f"{where}: {uri} does not invoke a function"
            raise TemplateError(message)
        return self._named(match["arn"], where)

    def _authorizers(self, body: Mapping[str, object]) -> dict[str, AuthorizerSpec]:
        schemes = as_mapping(body.get("components", {}), "components").get("securitySchemes", {})
        found: dict[str, AuthorizerSpec] = {}
        for name, scheme in as_mapping(schemes, "securitySchemes").items():
            where = f"Authorizers.{name}"
            settings = as_mapping(as_mapping(scheme, where).get(_AUTHORIZER, {}), where)
            is_simple = settings.get("enableSimpleResponses") is True
            if settings.get("authorizerPayloadFormatVersion") != "2.0" or not is_simple:
                message = f"{where}: the local gateway supports payload format 2.0 with simple responses only"
                raise TemplateError(message)
            sources = [as_text(source, where) for source in as_list(settings.get("identitySource", []), where)]
            if others := [source for source in sources if not source.startswith(_HEADER_SOURCE)]:
                message = f"{where}: only headers can be identity sources here, not {', '.join(others)}"
                raise TemplateError(message)
            seconds = int(as_text(settings.get("authorizerResultTtlInSeconds", 0), where))
            found[name] = AuthorizerSpec(
                name=name,
                function=self._invoked(settings.get("authorizerUri"), where),
                headers=tuple(source.removeprefix(_HEADER_SOURCE).lower() for source in sources),
                reauthorize_every=timedelta(seconds=seconds),
            )
        return found

    def _routes(self, body: Mapping[str, object], authorizers: Mapping[str, AuthorizerSpec]) -> Iterator[RouteSpec]:
        for path, operations in as_mapping(body.get("paths", {}), "paths").items():
            for method, value in as_mapping(operations, path).items():
                where = f"{method.upper()} {path}"
                operation = as_mapping(value, where)
                integration = as_mapping(operation.get(_INTEGRATION), where)
                if integration.get("payloadFormatVersion") != "2.0":
                    message = f"{where}: the local gateway supports payload format 2.0 only"
                    raise TemplateError(message)
                security = [
                    name for one in as_list(operation.get("security", []), where) for name in as_mapping(one, where)
                ]
                authorizer = next((name for name in security if name != NONE), None)
                if authorizer is not None and authorizer not in authorizers:
                    message = f"{where}: there is no authorizer {authorizer}"
                    raise TemplateError(message)
                yield RouteSpec(
                    method="ANY" if method == _ANY_METHOD else method.upper(),
                    path=path,
                    function=self._invoked(integration.get("uri"), where),
                    authorizer=authorizer,
                )

    # -- triggers ------------------------------------------------------------------------------------------------------

    def _refuse_other_invokers(self) -> None:
        """Reject a template in which a service invokes a function that never does so here."""
        for name in self._of_type(PERMISSION):
            principal = self._value(name, "Principal")
            if principal.endswith(".amazonaws.com") and principal not in _INVOKERS:
                message = f"{name}: events of {principal} are not supported by the local gateway"
                raise TemplateError(message)

    def _schedules(self) -> Iterator[Trigger]:
        for name in self._of_type(RULE):
            for target in as_list(self._properties(name).get("Targets", []), f"{name}.Targets"):
                yield from self._schedule(name, "Schedule", target)
        for name in self._of_type(SCHEDULE):
            yield from self._schedule(name, "ScheduleV2", self._properties(name).get("Target"))

    def _schedule(self, name: str, kind: Literal["Schedule", "ScheduleV2"], target: object) -> Iterator[Trigger]:
        """The trigger, if the target is a function."""
        properties, settings = self._properties(name), as_mapping(target, f"{name}.Target")
        function = self._target(settings.get("Arn"), f"{name}.Target")
        if function is None:
            return
        if "ScheduleExpression" not in properties:
            message = f"{name}: rules with an event pattern are not supported by the local gateway"
            raise TemplateError(message)
        expression = self._value(name, "ScheduleExpression")
        content = self._resolver.resolve(settings.get("Input"), f"{name}.Target.Input")
        yield ScheduleTrigger(
            function=function,
            name=self._value(name, "Name", name),
            kind=kind,
            expression=expression,
            every=schedules.rate(expression),
            input=None if content is None else as_text(content, f"{name}.Target.Input"),
            is_enabled=self._value(name, "State", "ENABLED") == "ENABLED",
        )

    def _target(self, arn: object, where: str) -> str | None:
        """The function that a target is; None for another target, such as a topic."""
        try:
            return self._named(as_text(self._resolver.resolve(arn, where), where), where)
        except TemplateError:
            return None  # the ARNs of all functions are known

    def _source(self, where: str) -> Trigger:
        """The trigger of an event source mapping: a stream or a queue of this template."""
        properties = self._properties(where)
        source = properties.pop("EventSourceArn", None)
        settings = as_mapping(self._resolver.resolve(properties, where), where)
        function = self._named(as_text(settings.get("FunctionName"), where), where)
        if unsupported := sorted(_UNSUPPORTED_OF_SOURCES & settings.keys()):
            message = f"{where}: {', '.join(unsupported)} is not supported by the local gateway"
            raise TemplateError(message)
        responses = as_list(settings.get("FunctionResponseTypes", []), f"{where}.FunctionResponseTypes")
        reports = "ReportBatchItemFailures" in responses
        logical_id, attribute = _attribute(source)
        kind = self._resources.get(logical_id, {}).get("Type")
        if kind == QUEUE and "FilterCriteria" in settings:
            message = f"{where}: FilterCriteria is not supported by the local gateway for queues"
            raise TemplateError(message)
        if kind == QUEUE and attribute == "Arn":
            scaling = as_mapping(settings.get("ScalingConfig", {}), f"{where}.ScalingConfig")
            return QueueTrigger(
                function=function,
                queue_url=self._physical_ids[logical_id],
                queue_arn=self._physical_ids[f"{logical_id}.Arn"],
                batch_size=int(as_text(settings.get("BatchSize", QUEUE_BATCH), where)),
                concurrency=int(as_text(scaling.get("MaximumConcurrency", QUEUE_CONCURRENCY), where)),
                reports_failures=reports,
                allows_loops=self._allows_loops(function),
            )
        if kind != TABLE or attribute != "StreamArn":
            message = f"{where}: only the stream of a table and a queue of this template can be read here, not {source}"
            raise TemplateError(message)
        starts_at = settings.get("StartingPosition")
        if starts_at != "TRIM_HORIZON" and starts_at != "LATEST":  # noqa: PLR1714 - mypy understands this form
            message = f"{where}.StartingPosition: {starts_at} is not TRIM_HORIZON or LATEST"
            raise TemplateError(message)
        retries = int(as_text(settings.get("MaximumRetryAttempts", -1), where))
        return StreamTrigger(
            function=function,
            table=as_text(self._resolver.resolve({"Ref": logical_id}, where), where),
            starts_at=starts_at,
            batch_size=int(as_text(settings.get("BatchSize", STREAM_BATCH), where)),
            retries=None if retries < 0 else retries,
            is_bisected=settings.get("BisectBatchOnFunctionError") is True,
            reports_failures=reports,
            failures_to=self._failures_to(settings, where),
            patterns=_patterns(settings, where),
        )

    def _allows_loops(self, function: str) -> bool:
        """Whether the function's RecursiveLoop is Allow; Lambda's default is Terminate."""
        value = self._value(function, "RecursiveLoop", TERMINATE)
        if value not in {ALLOW, TERMINATE}:
            message = f"{function}.RecursiveLoop: {value} is not {ALLOW} or {TERMINATE}"
            raise TemplateError(message)
        return value == ALLOW

    def _failures_to(self, settings: Mapping[str, object], where: str) -> str | None:
        """The URL of the queue that is the on-failure destination."""
        where = f"{where}.DestinationConfig.OnFailure"
        destination = as_mapping(settings.get("DestinationConfig", {}), where).get("OnFailure")
        if destination is None:
            return None
        arn = as_text(as_mapping(destination, where).get("Destination"), where)
        for name in self._of_type(QUEUE):
            if self._physical_ids[f"{name}.Arn"] == arn:
                return self._physical_ids[name]
        message = f"{where}: {arn} is no queue of this template"
        raise TemplateError(message)


def _patterns(settings: Mapping[str, object], where: str) -> tuple[filters.Pattern, ...]:
    """The patterns of FilterCriteria."""
    where = f"{where}.FilterCriteria"
    criteria = as_mapping(settings.get("FilterCriteria", {}), where)
    listed = [as_mapping(each, where) for each in as_list(criteria.get("Filters", []), where)]
    return tuple(filters.parse(as_text(each.get("Pattern"), where), where) for each in listed)


def queue_ids(name: str, endpoint: str, region: str) -> dict[str, str]:
    """The values of Ref and GetAtt for a queue that is named after its logical id."""
    url = f"{endpoint}/{ACCOUNT_ID}/{name}"
    arn = f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{name}"
    return {name: url, f"{name}.QueueUrl": url, f"{name}.Arn": arn, f"{name}.QueueName": name}


def event_bus_ids(name: str, region: str) -> dict[str, str]:
    """The values of Ref and GetAtt for an event bus that is named after its logical id."""
    return {name: name, f"{name}.Name": name, f"{name}.Arn": f"arn:aws:events:{region}:{ACCOUNT_ID}:event-bus/{name}"}


def bucket_ids(name: str) -> dict[str, str]:
    """The values of Ref and GetAtt for a bucket that is named after its logical id, in lower case."""
    return {name: name.lower(), f"{name}.Arn": f"arn:aws:s3:::{name.lower()}"}


def _attribute(source: object) -> tuple[str, str]:
    """The logical id and the attribute of a GetAtt; empty for anything else."""
    parts = source.get("Fn::GetAtt") if isinstance(source, dict) else None
    if isinstance(parts, str):
        parts = parts.split(".", 1)
    if isinstance(parts, list) and len(parts) == 2:  # noqa: PLR2004 - a GetAtt has two parts
        return str(parts[0]), str(parts[1])
    return "", ""


def _cors(body: Mapping[str, object]) -> CorsSpec | None:
    if _CORS not in body:
        return None
    settings = as_mapping(body[_CORS], _CORS)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(as_text(item, f"{_CORS}.{key}") for item in as_list(settings.get(key, []), f"{_CORS}.{key}"))

    max_age = settings.get("maxAge")
    return CorsSpec(
        origins=texts("allowOrigins"),
        methods=texts("allowMethods"),
        headers=texts("allowHeaders"),
        exposed=texts("exposeHeaders"),
        max_age=None if max_age is None else int(as_text(max_age, f"{_CORS}.maxAge")),
        credentials=settings.get("allowCredentials") is True,
    )
