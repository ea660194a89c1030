"""Reading a template: references, conditions, globals, routes and the authorizer; and the project's own template."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from local.gateway.template import CorsSpec, Stack, read_stack
from local.template_file import TemplateError

ROOT = Path(__file__).resolve().parents[2]

KEY = "arn:aws:secretsmanager:eu-north-1:000000000000:secret:PseudonymKey-AbCdEf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path


def read(folder: Path, text: str, *, parameters: dict[str, str] | None = None) -> Stack:
    (folder / "template.yaml").write_text(text)
    return read_stack(
        folder / "template.yaml",
        parameters=parameters or {},
        physical_ids={"Table": "table-1", "Table.Arn": "arn:table-1"},
        region="eu-north-1",
        secrets={KEY: '{"key": "kept", "number": 7}'},
    )


def variable(folder: Path, expression: str, *, parameters: dict[str, str] | None = None) -> str | None:
    """Return the value of a function's variable that is set to an expression."""
    text = f"""
Parameters:
  Stage: {{Type: String, Default: prod}}
  Count: {{Type: Number, Default: 3}}
  Names: {{Type: CommaDelimitedList, Default: "a, b"}}
Mappings: {{Sizes: {{prod: {{cpu: 4}}}}}}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsTest: !Not [!Condition IsProd]
  Both: !And [!Condition IsProd, !Equals [!Ref Count, "3"]]
  Either: !Or [!Condition IsTest, !Equals [!Ref Count, 3]]
Resources:
  Table: {{Type: AWS::DynamoDB::Table}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code
      Handler: handler.lambda_handler
      Runtime: python3.13
      Environment: {{Variables: {{V: {expression}}}}}
"""
    return read(folder, text, parameters=parameters).functions["F"].environment.get("V")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("plain", "plain"),
        ("2026-11-22", "2026-11-22"),
        ("12", "12"),
        ("true", "true"),
        ("!Ref Stage", "prod"),
        ("!Ref Count", "3"),
        ("!Ref Table", "table-1"),
        ("!Ref F", "F"),
        ("!Ref AWS::Region", "eu-north-1"),
        ("!Ref AWS::NoValue", None),
        ("{Ref: Stage}", "prod"),
        ("!GetAtt Table.Arn", "arn:table-1"),
        ("!GetAtt [Table, Arn]", "arn:table-1"),
        ("!GetAtt F.Arn", "arn:aws:lambda:eu-north-1:000000000000:function:F"),
        ('!Sub "${Stage}-${Table.Arn}-${AWS::AccountId}-${!Stage}"', "prod-arn:table-1-000000000000-${Stage}"),
        ('!Sub ["${Own}/${Stage}", {Own: !Ref Table}]', "table-1/prod"),
        ('!Join ["-", [a, !Ref Count, !Ref Stage]]', "a-3-prod"),
        ('!Join ["+", !Ref Names]', "a+b"),
        ('!Select [1, !Split [",", "x,y,z"]]', "y"),
        ("!FindInMap [Sizes, !Ref Stage, cpu]", "4"),
        ("!If [IsProd, yes-it-is, !Ref Nowhere]", "yes-it-is"),
        ("!If [IsTest, a, !Ref AWS::NoValue]", None),
        ("!If [Both, a, b]", "a"),
        ("!If [Either, a, b]", "a"),
        (f"'{{{{resolve:secretsmanager:{KEY}:SecretString:key}}}}'", "kept"),
        (f"'a {{{{resolve:secretsmanager:{KEY}:SecretString:key::}}}} b'", "a kept b"),
        (f"'{{{{resolve:secretsmanager:{KEY}}}}}'", '{"key": "kept", "number": 7}'),
        (f"!Sub ['{{{{resolve:secretsmanager:${{Own}}:SecretString:number}}}}', {{Own: '{KEY}'}}]", "7"),
    ],
)
def test_an_expression_is_resolved(folder: Path, expression: str, value: str | None) -> None:
    assert variable(folder, expression) == value


def test_a_given_parameter_replaces_its_default(folder: Path) -> None:
    assert variable(folder, "!If [IsProd, a, b]", parameters={"Stage": "test"}) == "b"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("!Ref Nowhere", "F.Environment.V: Ref Nowhere: neither a parameter nor a resource whose physical id is known"),
        ("!GetAtt Table.StreamArn", "F.Environment.V: GetAtt Table.StreamArn: this attribute is not known here"),
        ("!ImportValue other-stack", "F.Environment.V: Fn::ImportValue is not supported by the local gateway"),
        ("!If [Unknown, a, b]", "F.Environment.V: there is no condition Unknown"),
        ("!Join [a]", "F.Environment.V: 2 arguments were expected, not 1"),
        ("!Select [9, [a]]", "F.Environment.V: Select 9 of 1 values"),
        ("!Ref Names", "F.Environment.V: a text was expected"),
        ("!Sub '${Nowhere}'", "F.Environment.V: Ref Nowhere"),
        ("{a: b}", "F.Environment.V: a text was expected"),
        (f"'{{{{resolve:secretsmanager:{KEY}x:SecretString:key}}}}'", f"the secret {KEY}x is not known here"),
        (f"'{{{{resolve:secretsmanager:{KEY}:SecretString:other}}}}'", f"(other of {KEY}): a text was expected"),
        ("'{{resolve:ssm:parameter}}'", "F.Environment.V: only {{resolve:secretsmanager:"),
    ],
)
def test_an_unresolvable_expression_raises_an_error_with_its_location(
    folder: Path, expression: str, message: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)):
        variable(folder, expression)


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("Parameters: {A: {Type: String}, B: {Type: String}}", {}, "no value for the parameters A, B"),
        ("Resources: {}", {"Typo": "x"}, "the template has no parameter Typo"),
        ("a: [", {}, "template.yaml"),
        ("- a list", {}, "template.yaml: a mapping was expected"),
        ("Resources: [F]", {}, "Resources: a mapping was expected"),
        ("Resources: {F: [a]}", {}, "F: a mapping was expected"),
        ("Resources: {}", {}, "'Resources' section is required"),
        ("Resources: {F: {Type: 'AWS::Serverless::Function'}}", {}, "Resource with id [F] is invalid."),
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {Handler: a, Runtime: r, CodeUri: lost}}}",
            {},
            "F.CodeUri: there is no folder lost",
        ),
    ],
)
def test_an_unsupported_template_raises_an_error_of_one_line(
    folder: Path, text: str, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)) as caught:
        read(folder, text, parameters=parameters)
    assert "\n" not in str(caught.value)


def test_globals_are_defaults_and_their_variables_and_layers_are_merged(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name / "python").mkdir(parents=True)
    (folder / "two" / "python").rmdir()
    (folder / "two" / "package").mkdir()
    (folder / "two" / "package" / "__init__.py").touch()
    stack = read(
        folder,
        """
Conditions: {Never: !Equals [a, b]}
Globals:
  Function:
    Handler: handler.lambda_handler
    Runtime: python3.13
    CodeUri: code
    Timeout: 7
    Layers: [!Ref One]
    Environment: {Variables: {A: a, B: b}}
Resources:
  Api: {Type: AWS::Serverless::HttpApi}
  One: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: one}}
  Two: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: two}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 9
      MemorySize: 1024
      Layers: [!Ref Two]
      Environment: {Variables: {B: own}}
      Events:
        All: {Type: HttpApi, Properties: {ApiId: !Ref Api}}
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Path: /x, Method: x-amazon-apigateway-any-method}}
  G: {Type: AWS::Serverless::Function, Condition: Never}
""",
    )
    assert set(stack.functions) == {"F"}
    function = stack.functions["F"]
    assert function.timeout == timedelta(seconds=9)
    assert function.memory_mb == 1024
    assert function.layers == (folder / "one" / "python", folder / "two")
    assert function.environment == {"A": "a", "B": "own"}
    assert [route.key for route in stack.routes] == ["$default", "ANY /x"]


def test_the_cors_configuration_is_read(folder: Path) -> None:
    api = "Resources: {Api: {Type: 'AWS::Serverless::HttpApi', Properties: {CorsConfiguration: "
    assert read(folder, api + "true}}}").cors == CorsSpec(("*",), (), (), (), None, credentials=False)
    cors = read(folder, api + "{AllowOrigins: ['https://a.example'], AllowMethods: [GET], MaxAge: 60}}}}").cors
    assert cors == CorsSpec(("https://a.example",), ("GET",), (), (), 60, credentials=False)


API = """
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: {default}
        Authorizers:
          Callers:
            FunctionArn: {arn}
            AuthorizerPayloadFormatVersion: "{version}"
            EnableSimpleResponses: {simple}
            Identity: {{{identity}}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code
      Handler: handler.lambda_handler
      Runtime: python3.13
      Events:
        A: {{Type: HttpApi, Properties: {{ApiId: !Ref Api, Path: /a, Method: GET}}}}
        B:
          Type: HttpApi
          Properties:
            ApiId: !Ref Api
            Path: {path}
            Method: GET
            PayloadFormatVersion: {format}
            Auth: {{Authorizer: {own}}}
"""
VALID = {
    "default": "Callers",
    "arn": "!GetAtt F.Arn",
    "version": "2.0",
    "simple": "true",
    "identity": "Headers: [Authorization]",
    "path": "/b",
    "format": '"2.0"',
    "own": "NONE",
}


def test_routes_without_an_authorizer_setting_have_the_default_one(folder: Path) -> None:
    stack = read(folder, API.format(**VALID))
    assert {route.key: route.authorizer for route in stack.routes} == {"GET /a": "Callers", "GET /b": None}


def test_the_authorizer_and_routes_may_refer_to_an_alias(folder: Path) -> None:
    stack = read(
        folder,
        API.format(**{**VALID, "arn": "!Ref F.Alias"}).replace("CodeUri", "AutoPublishAlias: live\n      CodeUri"),
    )
    assert {route.function for route in stack.routes} == {"F"}
    assert stack.authorizers["Callers"].function == "F"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"arn": "arn:of:another"},
            "Authorizers.Callers: arn:of:another is no function of this template",
        ),
        ({"version": "1.0"}, "payload format 2.0 with simple responses only"),
        ({"simple": "false"}, "payload format 2.0 with simple responses only"),
        ({"default": "Unknown"}, "'Unknown' was not defined in 'Authorizers'"),
        ({"own": "Unknown"}, "Event with id [B] is invalid. Unable to set Authorizer [Unknown]"),
        ({"path": "/a"}, "API method 'get' defined multiple times for path '/a'"),
        (
            {"identity": "QueryStrings: [key]"},
            "only headers can be identity sources here, not $request.querystring.key",
        ),
        ({"format": '"1.0"'}, "GET /b: the local gateway supports payload format 2.0 only"),
    ],
)
def test_an_unsupported_api_is_rejected(folder: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)):
        read(folder, API.format(**{**VALID, **change}))


class TestProjectTemplate:
    @pytest.fixture
    def stack(self) -> Stack:
        return read_stack(
            ROOT / "template.yaml",
            parameters={
                "TerraDevId": "dev",
                "TerraSecretArn": "arn:terra",
                "SigningSecretsArn": "arn:signing",
                "ServiceKeysArn": "arn:keys",
                "PublicBaseUrl": "http://127.0.0.1:4101",
                "DataDeliveries": "keep",
            },
            physical_ids={**{name: name for name in ("Connections", "Sessions", "Deliveries")}, "PseudonymKey": KEY},
            secrets={KEY: '{"key": "the stack\'s own"}'},
            region="eu-north-1",
        )

    def test_every_folder_is_a_function(self, stack: Stack) -> None:
        folders = {path for path in (ROOT / "functions").iterdir() if (path / "handler.py").exists()}
        assert folders <= {function.folder for function in stack.functions.values()}
        assert all(function.layers == (ROOT / "layers" / "terra_connections",) for function in stack.functions.values())

    def test_only_webhooks_and_redirects_have_no_authorizer(self, stack: Stack) -> None:
        public = {route.key for route in stack.routes if route.authorizer is None}
        assert public == {"GET /auth/success", "GET /auth/failure", "POST /auth/retry", "POST /webhooks/terra"}
        authorizers = {route.authorizer for route in stack.routes if route.authorizer is not None}
        assert authorizers == set(stack.authorizers)
        (authorizer,) = stack.authorizers.values()
        assert authorizer.function == "Authorize"
        assert authorizer.headers == ("authorization",)
        assert authorizer.reauthorize_every <= timedelta(seconds=60)

    def test_the_environment_is_resolved(self, stack: Stack) -> None:
        environment = stack.functions["CreateSession"].environment
        assert environment["CONNECTIONS_TABLE"] == "Connections"
        assert environment["TERRA_SECRET_ARN"] == "arn:terra"
        assert environment["PSEUDONYM_KEY"] == "the stack's own"
        assert environment["PUBLIC_BASE_URL"] == "http://127.0.0.1:4101"
        for function in stack.functions.values():
            assert function.environment["AWS_ENDPOINT_URL_DYNAMODB"] == ""
