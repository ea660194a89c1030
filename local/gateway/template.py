"""The functions, routes and authorizer of template.yaml, with every reference resolved.

Only what the gateway needs is resolved. Anything that cannot be resolved raises a `TemplateError` that names the place.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import yaml

from local.gateway import schedules
from local.gateway.triggers import (
    QUEUE_BATCH,
    QUEUE_CONCURRENCY,
    STREAM_BATCH,
    QueueTrigger,
    ScheduleTrigger,
    StreamTrigger,
    Trigger,
)

ACCOUNT_ID: Final = "000000000000"
NONE: Final = "NONE"
FUNCTION: Final = "AWS::Serverless::Function"
LAYER: Final = "AWS::Serverless::LayerVersion"
HTTP_API: Final = "AWS::Serverless::HttpApi"
TABLE: Final = "AWS::DynamoDB::Table"
QUEUE: Final = "AWS::SQS::Queue"
EVENT_BUS: Final = "AWS::Events::EventBus"
EVENT_SOURCE_MAPPING: Final = "AWS::Lambda::EventSourceMapping"
DEFAULT_ROUTE: Final = "$default"
ALLOW: Final = "Allow"
TERMINATE: Final = "Terminate"
"""A value of a function's RecursiveLoop."""

_ANY_METHOD: Final = "X-AMAZON-APIGATEWAY-ANY-METHOD"
_SHORT_FORMS_WITHOUT_PREFIX: Final = frozenset({"Ref", "Condition"})
_SUB_VARIABLE: Final = re.compile(r"\$\{(!?)([^}]*)\}")
# Only the forms that name the newest version of a secret by its ARN.
_SECRET_REFERENCE: Final = re.compile(
    r"\{\{resolve:secretsmanager:(?P<arn>arn:[^:}]*:secretsmanager:[^:}]*:[^:}]*:secret:[^:}]*)"
    r"(?::SecretString(?::(?P<key>[^:}]*))?)?:{0,2}\}\}"
)
_SOURCE_TYPES: Final = {"DynamoDB": "Stream", "SQS": "Queue"}
# Settings that would change which records a function gets, and are not implemented here.
_UNSUPPORTED_OF_SOURCES: Final = frozenset({"FilterCriteria", "TumblingWindowInSeconds", "StartingPositionTimestamp"})
_DROPPED: Final = object()  # the value of AWS::NoValue: the entry with it is removed


class TemplateError(Exception):
    """The template uses something that is unsupported here."""


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
    """Read and resolve the template.

    Args:
        template: Path of the template; CodeUri and ContentUri are relative to its folder.
        parameters: Values of the template's parameters; the others keep their defaults.
        physical_ids: Values of `Ref` for a resource (`Connections`) and `GetAtt` for an attribute (`Connections.Arn`).
        region: The value of `AWS::Region`.
        secrets: The values of secrets, by their ARNs, for dynamic references (`{{resolve:secretsmanager:...}}`).

    Raises:
        TemplateError: Something is missing, unknown or unresolvable.
    """
    document = _mapping(_load(template), "the template")
    return _Reader(
        document,
        root=template.resolve().parent,
        parameters=parameters,
        physical_ids=physical_ids,
        region=region,
        secrets=secrets or {},
    ).stack()


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms; dates stay text, as CloudFormation reads them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, object]:
    value: object
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in _SHORT_FORMS_WITHOUT_PREFIX else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def _load(template: Path) -> object:
    try:
        loader = _Loader(template.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{template}: {error.strerror}"
        raise TemplateError(message) from error
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        message = f"{template}: {error}"
        raise TemplateError(message) from error
    finally:
        loader.dispose()


class _Resolver:
    """CloudFormation's intrinsic functions for the given parameters and physical ids."""

    def __init__(
        self,
        document: Mapping[str, object],
        parameters: Mapping[str, str],
        physical_ids: Mapping[str, str],
        region: str,
    ) -> None:
        self._conditions = _mapping(document.get("Conditions", {}), "Conditions")
        self._mappings = _mapping(document.get("Mappings", {}), "Mappings")
        self._parameters = _parameter_values(document, parameters)
        self._physical_ids = physical_ids
        self._pseudo: dict[str, object] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": _DROPPED,
            "AWS::Partition": "aws",
            "AWS::Region": region,
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT_ID}:stack/local/local",
            "AWS::StackName": "local",
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._functions: dict[str, Callable[[object, str], object]] = {
            "Ref": self._ref,
            "Condition": self._condition_reference,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": self._not,
            "Fn::And": self._and,
            "Fn::Or": self._or,
        }

    def resolve(self, value: object, where: str) -> object:
        """The value with every intrinsic function resolved; absent entries are removed."""
        if isinstance(value, list):
            resolved = [self.resolve(item, f"{where}[{index}]") for index, item in enumerate(value)]
            return [item for item in resolved if item is not _DROPPED]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name in self._functions:
                return self._functions[name](argument, where)
            if isinstance(name, str) and name.startswith("Fn::"):
                message = f"{where}: {name} is not supported by the local gateway"
                raise TemplateError(message)
        entries = {key: self.resolve(item, f"{where}.{key}") for key, item in value.items()}
        return {key: item for key, item in entries.items() if item is not _DROPPED}

    def is_met(self, condition: object, where: str) -> bool:
        """Whether the named condition of the template is true."""
        if not isinstance(condition, str) or condition not in self._conditions:
            message = f"{where}: there is no condition {condition}"
            raise TemplateError(message)
        return self._truth(self._conditions[condition], f"Conditions.{condition}")

    def _truth(self, value: object, where: str) -> bool:
        resolved = self.resolve(value, where)
        if isinstance(resolved, bool):
            return resolved
        message = f"{where}: not a condition"
        raise TemplateError(message)

    def _ref(self, name: object, where: str) -> object:
        for known in (self._pseudo, self._parameters, self._physical_ids):
            if isinstance(name, str) and name in known:
                return known[name]
        message = f"{where}: Ref {name}: neither a parameter nor a resource whose physical id is known here"
        raise TemplateError(message)

    def _get_att(self, argument: object, where: str) -> object:
        name = ".".join(_text(part, where) for part in _list(argument, where))
        if name in self._physical_ids:
            return self._physical_ids[name]
        message = f"{where}: GetAtt {name}: this attribute is not known here"
        raise TemplateError(message)

    def _sub(self, argument: object, where: str) -> str:
        pattern, own = argument, {}
        if isinstance(argument, list):
            pattern, variables = _arguments(argument, 2, where)
            own = _mapping(self.resolve(variables, where), where)

        def replace(match: re.Match[str]) -> str:
            literal, name = match.group(1), match.group(2).strip()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return _text(own[name], where)
            value = self._get_att(name.split(".", 1), where) if "." in name else self._ref(name, where)
            return _text(value, f"{where} (${{{name}}})")

        return _SUB_VARIABLE.sub(replace, _text(pattern, where))

    def _join(self, argument: object, where: str) -> str:
        delimiter, parts = _arguments(argument, 2, where)
        values = _list(self.resolve(parts, where), where)
        return _text(delimiter, where).join(_text(value, where) for value in values)

    def _select(self, argument: object, where: str) -> object:
        index, choices = _arguments(argument, 2, where)
        values = _list(self.resolve(choices, where), where)
        position = int(_text(self.resolve(index, where), where))
        if 0 <= position < len(values):
            return values[position]
        message = f"{where}: Select {position} of {len(values)} values"
        raise TemplateError(message)

    def _split(self, argument: object, where: str) -> list[object]:
        delimiter, text = _arguments(argument, 2, where)
        return list(_text(self.resolve(text, where), where).split(_text(delimiter, where)))

    def _find_in_map(self, argument: object, where: str) -> object:
        found: object = self._mappings
        for key in _arguments(self.resolve(argument, where), 3, where):
            found = _mapping(found, where).get(_text(key, where))
        if found is not None:
            return found
        message = f"{where}: FindInMap {argument}: no such entry"
        raise TemplateError(message)

    def _if(self, argument: object, where: str) -> object:
        condition, yes, no = _arguments(argument, 3, where)
        return self.resolve(yes if self.is_met(condition, where) else no, where)

    def _condition_reference(self, argument: object, where: str) -> bool:
        return self.is_met(argument, where)

    def _equals(self, argument: object, where: str) -> bool:
        left, right = _arguments(argument, 2, where)
        return _text(self.resolve(left, where), where) == _text(self.resolve(right, where), where)

    def _not(self, argument: object, where: str) -> bool:
        (condition,) = _arguments(argument, 1, where)
        return not self._truth(condition, where)

    def _and(self, argument: object, where: str) -> bool:
        return all(self._truth(condition, where) for condition in _list(argument, where))

    def _or(self, argument: object, where: str) -> bool:
        return any(self._truth(condition, where) for condition in _list(argument, where))


class _Reader:
    """Converts the document to the resolved stack."""

    def __init__(
        self,
        document: Mapping[str, object],
        *,
        root: Path,
        parameters: Mapping[str, str],
        physical_ids: Mapping[str, str],
        region: str,
        secrets: Mapping[str, str],
    ) -> None:
        self._root = root
        self._secrets = secrets
        self._region = region
        self._globals = _mapping(document.get("Globals", {}), "Globals")
        resources = _mapping(document.get("Resources", {}), "Resources")
        self._resources = {name: _mapping(resource, name) for name, resource in resources.items()}
        self._physical_ids = {**self._own_physical_ids(), **physical_ids}
        self._resolver = _Resolver(document, parameters, self._physical_ids, region)

    def stack(self) -> Stack:
        api, properties = self._api()
        functions = {name: self._function(name) for name in self._of_type(FUNCTION)}
        authorizers, default_authorizer = self._authorizers(properties, functions)
        routes = tuple(
            route for name in functions for route in self._routes(name, api, authorizers, default_authorizer)
        )
        _refuse_doubles(routes)
        return Stack(
            api_id=self._physical_ids.get(api, api) if api else "local",
            region=self._region,
            functions=functions,
            routes=routes,
            authorizers=authorizers,
            cors=_cors(properties.get("CorsConfiguration")),
            triggers=(
                *(trigger for name in functions for trigger in self._events(name)),
                *self._event_source_mappings(functions),
            ),
        )

    def _own_physical_ids(self) -> dict[str, str]:
        """Names given here: of functions and the API, and of queues and buses unless the caller names them."""
        own: dict[str, str] = {}
        for name, resource in self._resources.items():
            if resource.get("Type") == FUNCTION:
                own[name] = name
                own[f"{name}.Arn"] = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:function:{name}"
            elif resource.get("Type") == HTTP_API:
                own[name] = "local"
            elif resource.get("Type") == QUEUE:
                own |= queue_ids(name, f"https://sqs.{self._region}.amazonaws.com", self._region)
            elif resource.get("Type") == EVENT_BUS:
                own |= event_bus_ids(name, self._region)
        return own

    def _of_type(self, kind: str) -> list[str]:
        return [
            name
            for name, resource in self._resources.items()
            if resource.get("Type") == kind
            and ("Condition" not in resource or self._resolver.is_met(resource["Condition"], name))
        ]

    def _api(self) -> tuple[str | None, Mapping[str, object]]:
        names = self._of_type(HTTP_API)
        if len(names) > 1:
            message = f"more than one {HTTP_API}: {', '.join(names)}; the local gateway serves one"
            raise TemplateError(message)
        defaults = _mapping(self._globals.get("HttpApi", {}), "Globals.HttpApi")
        own = _mapping(self._resources[names[0]].get("Properties", {}), names[0]) if names else {}
        wanted = {key: value for key, value in {**defaults, **own}.items() if key in {"Auth", "CorsConfiguration"}}
        where = names[0] if names else "Globals.HttpApi"
        return names[0] if names else None, _mapping(self._resolver.resolve(wanted, where), where)

    def _function(self, name: str) -> FunctionSpec:
        defaults = _mapping(self._globals.get("Function", {}), "Globals.Function")
        own = _mapping(self._resources[name].get("Properties", {}), name)
        properties = {**defaults, **own}
        variables = {
            key: value
            for source in (defaults, own)
            for key, value in _mapping(
                _mapping(source.get("Environment", {}), f"{name}.Environment").get("Variables", {}),
                f"{name}.Environment.Variables",
            ).items()
        }
        layers = [*_list(defaults.get("Layers", []), name), *_list(own.get("Layers", []), name)]

        def value(key: str, otherwise: object = None) -> str:
            found = self._resolver.resolve(properties.get(key, otherwise), f"{name}.{key}")
            return _text(found, f"{name}.{key}")

        environment = _mapping(self._resolver.resolve(variables, f"{name}.Environment"), f"{name}.Environment")
        return FunctionSpec(
            logical_id=name,
            name=self._physical_ids[name],
            handler=value("Handler"),
            runtime=value("Runtime"),
            timeout=timedelta(seconds=int(value("Timeout", 3))),
            memory_mb=int(value("MemorySize", 128)),
            folder=self._folder(value("CodeUri"), f"{name}.CodeUri"),
            layers=tuple(path for layer in layers for path in self._layer(layer, f"{name}.Layers")),
            environment={
                key: self._with_secrets(_text(item, f"{name}.Environment.{key}"), f"{name}.Environment.{key}")
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
            value = _mapping(json.loads(self._secrets[arn]), where).get(key)
            return _text(value, f"{where} ({key} of {arn})")

        text = _SECRET_REFERENCE.sub(held, text)
        if "{{resolve:" in text:
            message = f"{where}: only {{{{resolve:secretsmanager:<ARN>:SecretString:<key>}}}} is resolved here"
            raise TemplateError(message)
        return text

    def _layer(self, layer: object, where: str) -> tuple[Path, ...]:
        logical_id = layer.get("Ref") if isinstance(layer, dict) else None
        resource = self._resources.get(logical_id) if isinstance(logical_id, str) else None
        if resource is None or resource.get("Type") != LAYER:
            message = f"{where}: only a Ref to a {LAYER} of this template can be used here, not {layer}"
            raise TemplateError(message)
        properties = _mapping(resource.get("Properties", {}), f"{logical_id}")
        content = self._resolver.resolve(properties.get("ContentUri"), f"{logical_id}.ContentUri")
        folder = self._folder(_text(content, f"{logical_id}.ContentUri"), f"{logical_id}.ContentUri")
        if (folder / "python").is_dir():
            return (folder / "python",)
        if any(folder.glob("*.py")) or any(folder.glob("*/__init__.py")):
            return (folder,)
        return ()  # only a list of requirements: the functions' interpreter has these packages

    def _folder(self, uri: str, where: str) -> Path:
        folder = (self._root / uri).resolve()
        if folder.is_dir():
            return folder
        message = f"{where}: there is no folder {uri}"
        raise TemplateError(message)

    def _authorizers(
        self, properties: Mapping[str, object], functions: Mapping[str, FunctionSpec]
    ) -> tuple[dict[str, AuthorizerSpec], str | None]:
        auth = _mapping(properties.get("Auth", {}), "Auth")
        by_arn = {self._physical_ids[f"{name}.Arn"]: name for name in functions}
        found: dict[str, AuthorizerSpec] = {}
        for name, value in _mapping(auth.get("Authorizers", {}), "Auth.Authorizers").items():
            where = f"Auth.Authorizers.{name}"
            settings = _mapping(value, where)
            arn = _text(settings.get("FunctionArn"), f"{where}.FunctionArn")
            if arn not in by_arn:
                message = f"{where}.FunctionArn: {arn} is no function of this template"
                raise TemplateError(message)
            simple = settings.get("EnableSimpleResponses")
            if _text(settings.get("AuthorizerPayloadFormatVersion"), where) != "2.0" or simple is not True:
                message = f"{where}: the local gateway speaks payload format 2.0 with simple responses only"
                raise TemplateError(message)
            identity = _mapping(settings.get("Identity", {}), f"{where}.Identity")
            headers = _list(identity.get("Headers", []), f"{where}.Identity.Headers")
            found[name] = AuthorizerSpec(
                name=name,
                function=by_arn[arn],
                headers=tuple(_text(header, where).lower() for header in headers),
                reauthorize_every=timedelta(seconds=int(_text(identity.get("ReauthorizeEvery", 0), where))),
            )
        default = auth.get("DefaultAuthorizer")
        return found, None if default is None else _known_authorizer(default, found, "Auth.DefaultAuthorizer")

    def _routes(
        self,
        function: str,
        api: str | None,
        authorizers: Mapping[str, AuthorizerSpec],
        default_authorizer: str | None,
    ) -> list[RouteSpec]:
        properties = _mapping(self._resources[function].get("Properties", {}), function)
        routes: list[RouteSpec] = []
        for name, value in _mapping(properties.get("Events", {}), f"{function}.Events").items():
            where = f"{function}.Events.{name}"
            event = _mapping(value, where)
            if event.get("Type") != "HttpApi":
                continue
            settings = _mapping(event.get("Properties", {}), where)
            if settings.get("ApiId", {"Ref": api}) != {"Ref": api}:
                message = f"{where}.ApiId: {settings['ApiId']} is not the API of this template"
                raise TemplateError(message)
            resolved = _mapping(
                self._resolver.resolve({k: v for k, v in settings.items() if k != "ApiId"}, where), where
            )
            auth = _mapping(resolved.get("Auth", {}), f"{where}.Auth")
            authorizer = default_authorizer
            if auth.get("Authorizer") == NONE:
                authorizer = None
            elif "Authorizer" in auth:
                authorizer = _known_authorizer(auth["Authorizer"], authorizers, f"{where}.Auth")
            method = _text(resolved.get("Method", "ANY"), where).upper()
            path = _text(resolved.get("Path", DEFAULT_ROUTE), where)
            routes.append(
                RouteSpec(
                    method="ANY" if method == _ANY_METHOD else method,
                    path=path,
                    function=function,
                    authorizer=authorizer,
                )
            )
        return routes

    def _events(self, function: str) -> list[Trigger]:
        """The event sources among a function's events."""
        properties = _mapping(self._resources[function].get("Properties", {}), function)
        triggers: list[Trigger] = []
        for name, value in _mapping(properties.get("Events", {}), f"{function}.Events").items():
            where = f"{function}.Events.{name}"
            event = _mapping(value, where)
            kind, settings = event.get("Type"), _mapping(event.get("Properties", {}), where)
            if kind in ("Schedule", "ScheduleV2"):
                triggers.append(self._schedule(function, f"{function}{name}", kind, settings, where))
            elif kind in _SOURCE_TYPES:
                triggers.append(self._source(function, settings.get(_SOURCE_TYPES[kind]), settings, where))
            elif kind != "HttpApi":
                message = f"{where}: events of type {kind} are not supported by the local gateway"
                raise TemplateError(message)
        return triggers

    def _event_source_mappings(self, functions: Mapping[str, FunctionSpec]) -> list[Trigger]:
        """The event sources that are resources of their own."""
        triggers: list[Trigger] = []
        for name in self._of_type(EVENT_SOURCE_MAPPING):
            settings = _mapping(self._resources[name].get("Properties", {}), name)
            known = {self._physical_ids[f"{function}.Arn"]: function for function in functions}
            known |= {self._physical_ids[function]: function for function in functions}
            asked = _text(self._resolver.resolve(settings.get("FunctionName"), name), f"{name}.FunctionName")
            if asked not in known:
                message = f"{name}.FunctionName: {asked} is no function of this template"
                raise TemplateError(message)
            triggers.append(self._source(known[asked], settings.get("EventSourceArn"), settings, name))
        return triggers

    def _source(self, function: str, source: object, properties: Mapping[str, object], where: str) -> Trigger:
        """The trigger for a stream or a queue of this template."""
        settings = _mapping(self._resolver.resolve(_less(properties, source), where), where)
        if unsupported := sorted(_UNSUPPORTED_OF_SOURCES & settings.keys()):
            message = f"{where}: {', '.join(unsupported)} is not supported by the local gateway"
            raise TemplateError(message)
        responses = _list(settings.get("FunctionResponseTypes", []), f"{where}.FunctionResponseTypes")
        reports = "ReportBatchItemFailures" in responses
        logical_id, attribute = _attribute(source)
        kind = self._resources.get(logical_id, {}).get("Type")
        if kind == QUEUE and attribute == "Arn":
            scaling = _mapping(settings.get("ScalingConfig", {}), f"{where}.ScalingConfig")
            return QueueTrigger(
                function=function,
                queue_url=self._physical_ids[logical_id],
                queue_arn=self._physical_ids[f"{logical_id}.Arn"],
                batch_size=int(_text(settings.get("BatchSize", QUEUE_BATCH), where)),
                concurrency=int(_text(scaling.get("MaximumConcurrency", QUEUE_CONCURRENCY), where)),
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
        retries = int(_text(settings.get("MaximumRetryAttempts", -1), where))
        return StreamTrigger(
            function=function,
            table=_text(self._resolver.resolve({"Ref": logical_id}, where), where),
            starts_at=starts_at,
            batch_size=int(_text(settings.get("BatchSize", STREAM_BATCH), where)),
            retries=None if retries < 0 else retries,
            is_bisected=settings.get("BisectBatchOnFunctionError") is True,
            reports_failures=reports,
            failures_to=self._failures_to(settings, where),
        )

    def _allows_loops(self, function: str) -> bool:
        """Whether the function's RecursiveLoop is Allow; Lambda's default is Terminate."""
        where = f"{function}.RecursiveLoop"
        defaults = _mapping(self._globals.get("Function", {}), "Globals.Function")
        own = _mapping(self._resources[function].get("Properties", {}), function)
        value = self._resolver.resolve({**defaults, **own}.get("RecursiveLoop", TERMINATE), where)
        if value not in {ALLOW, TERMINATE}:
            message = f"{where}: {value} is not {ALLOW} or {TERMINATE}"
            raise TemplateError(message)
        return value == ALLOW

    def _failures_to(self, settings: Mapping[str, object], where: str) -> str | None:
        """The URL of the queue that is the on-failure destination."""
        where = f"{where}.DestinationConfig.OnFailure"
        destination = _mapping(settings.get("DestinationConfig", {}), where).get("OnFailure")
        if destination is None:
            return None
        arn = _text(_mapping(destination, where).get("Destination"), where)
        for name in self._of_type(QUEUE):
            if self._physical_ids[f"{name}.Arn"] == arn:
                return self._physical_ids[name]
        message = f"{where}: {arn} is no queue of this template"
        raise TemplateError(message)

    def _schedule(
        self,
        function: str,
        name: str,
        kind: Literal["Schedule", "ScheduleV2"],
        properties: Mapping[str, object],
        at: str,
    ) -> ScheduleTrigger:
        wanted = ("Schedule", "ScheduleExpression", "Input", "Enabled", "State", "Name")
        settings = _mapping(self._resolver.resolve({k: properties[k] for k in wanted if k in properties}, at), at)
        expression = _text(settings.get("Schedule" if kind == "Schedule" else "ScheduleExpression"), at)
        return ScheduleTrigger(
            function=function,
            name=_text(settings.get("Name", name), at),
            kind=kind,
            expression=expression,
            every=schedules.rate(expression),
            input=None if settings.get("Input") is None else _text(settings["Input"], f"{at}.Input"),
            is_enabled=settings.get("Enabled", True) is not False and settings.get("State", "ENABLED") == "ENABLED",
        )


def queue_ids(name: str, endpoint: str, region: str) -> dict[str, str]:
    """The values of Ref and GetAtt for a queue that is named after its logical id."""
    url = f"{endpoint}/{ACCOUNT_ID}/{name}"
    arn = f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{name}"
    return {name: url, f"{name}.QueueUrl": url, f"{name}.Arn": arn, f"{name}.QueueName": name}


def event_bus_ids(name: str, region: str) -> dict[str, str]:
    """The values of Ref and GetAtt for an event bus that is named after its logical id."""
    return {name: name, f"{name}.Name": name, f"{name}.Arn": f"arn:aws:events:{region}:{ACCOUNT_ID}:event-bus/{name}"}


def _attribute(source: object) -> tuple[str, str]:
    """The logical id and the attribute of a GetAtt; empty for anything else."""
    parts = source.get("Fn::GetAtt") if isinstance(source, dict) else None
    if isinstance(parts, str):
        parts = parts.split(".", 1)
    if isinstance(parts, list) and len(parts) == 2:  # noqa: PLR2004 - a GetAtt has two parts
        return str(parts[0]), str(parts[1])
    return "", ""


def _less(properties: Mapping[str, object], source: object) -> dict[str, object]:
    """The properties without the source and the function: neither is a setting."""
    return {key: value for key, value in properties.items() if value is not source and key != "FunctionName"}


def _refuse_doubles(routes: Sequence[RouteSpec]) -> None:
    keys = [route.key for route in routes]
    doubles = sorted({key for key in keys if keys.count(key) > 1})
    if doubles:
        message = f"more than one function has the route {', '.join(doubles)}"
        raise TemplateError(message)


def _known_authorizer(name: object, authorizers: Mapping[str, AuthorizerSpec], where: str) -> str:
    if isinstance(name, str) and name in authorizers:
        return name
    message = f"{where}: there is no authorizer {name}"
    raise TemplateError(message)


def _cors(value: object) -> CorsSpec | None:
    if value is None or value is False:
        return None
    if value is True:
        return CorsSpec(("*",), (), (), (), None, credentials=False)
    settings = _mapping(value, "CorsConfiguration")

    def texts(key: str) -> tuple[str, ...]:
        return tuple(_text(item, f"CorsConfiguration.{key}") for item in _list(settings.get(key, []), key))

    max_age = settings.get("MaxAge")
    return CorsSpec(
        origins=texts("AllowOrigins"),
        methods=texts("AllowMethods"),
        headers=texts("AllowHeaders"),
        exposed=texts("ExposeHeaders"),
        max_age=None if max_age is None else int(_text(max_age, "CorsConfiguration.MaxAge")),
        credentials=settings.get("AllowCredentials") is True,
    )


def _parameter_values(document: Mapping[str, object], given: Mapping[str, str]) -> dict[str, object]:
    declared = _mapping(document.get("Parameters", {}), "Parameters")
    unknown = sorted(set(given) - set(declared))
    if unknown:
        message = f"the template has no parameter {', '.join(unknown)}"
        raise TemplateError(message)
    values: dict[str, object] = {}
    missing: list[str] = []
    for name, value in declared.items():
        declaration = _mapping(value, f"Parameters.{name}")
        if name in given:
            values[name] = given[name]
        elif "Default" in declaration:
            values[name] = _text(declaration["Default"], f"Parameters.{name}.Default")
        else:
            missing.append(name)
            continue
        if str(declaration.get("Type", "String")).startswith(("CommaDelimitedList", "List<")):
            values[name] = [part.strip() for part in str(values[name]).split(",")]
    if missing:
        message = f"no value for the parameters {', '.join(sorted(missing))}"
        raise TemplateError(message)
    return values


def _mapping(value: object, where: str) -> dict[str, object]:
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    message = f"{where}: a mapping was expected"
    raise TemplateError(message)


def _list(value: object, where: str) -> list[object]:
    if isinstance(value, list):
        return value
    message = f"{where}: a list was expected"
    raise TemplateError(message)


def _arguments(value: object, count: int, where: str) -> list[object]:
    values = _list(value, where)
    if len(values) == count:
        return values
    message = f"{where}: {count} arguments were expected, not {len(values)}"
    raise TemplateError(message)


def _text(value: object, where: str) -> str:
    """A scalar as CloudFormation passes it on: always text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    message = f"{where}: a text was expected, not {'nothing' if value is None else value}"
    raise TemplateError(message)
