"""`make package`: the archive of a release, its checksum, and what is published to AWS's repository of applications."""

import hashlib
import re
import shutil
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from local.aws_services import CREDENTIALS
from local.testing import Stack
from tools import deploy, package
from tools.environment import ROOT

TEMPLATE = """Metadata:
  AWS::ServerlessRepo::Application:
    LicenseUrl: ../../LICENSE
    ReadmeUrl: ../../README.md
Resources:
  CreateSession:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: CreateSession
      Handler: handler.lambda_handler
      Runtime: python3.13
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a build, as the project's."""
    built = tmp_path / ".aws-sam" / "build"
    (built / "CreateSession").mkdir(parents=True)
    (built / "CreateSession" / "handler.py").write_text("number = 42\n")
    (built / "template.yaml").write_text(TEMPLATE)
    for name in (*package.BESIDE, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(package, "ROOT", tmp_path)
    monkeypatch.setattr(package, "BUILT", built)
    monkeypatch.setattr(package, "PLACE", tmp_path / "build" / "package")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_build_gives_the_same_archive(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert package.main(["archive"]) == 0
    first = content(package.PLACE)
    assert "make package BUCKET=" in capsys.readouterr().out
    # Other times, other permissions, and a deployment of a stage in between.
    handler = package.BUILT / "CreateSession" / "handler.py"
    handler.write_bytes(handler.read_bytes())
    handler.chmod(0o600)
    deploy.mark(package.BUILT, {"TerraDevId": "mine"}, {})
    assert package.main(["archive"]) == 0
    assert content(package.PLACE) == first
    assert first.keys() == {f"terra-connections-{package.version()}.zip", package.SUMS}
    archive = project / "build" / "package" / f"terra-connections-{package.version()}.zip"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert first[package.SUMS].decode() == f"{digest}  {archive.name}\n"


def test_the_archive_can_be_deployed_by_sam_alone(project: Path, tmp_path: Path) -> None:
    package.main(["archive"])
    place = tmp_path / "unpacked"
    with zipfile.ZipFile(next((project / "build/package").glob("*.zip"))) as archive:
        archive.extractall(place)
    template = yaml.safe_load((place / "template.yaml").read_text())
    named = [template["Resources"]["CreateSession"]["Properties"]["CodeUri"]]
    named += template["Metadata"]["AWS::ServerlessRepo::Application"].values()
    assert [name for name in named if not (place / name).exists()] == []
    assert tomllib.loads((place / "samconfig.toml").read_text())["dev"]["global"]["parameters"]["stack_name"]


@pytest.mark.usefixtures("project")
def test_the_archive_becomes_the_build_again() -> None:
    before = content(package.BUILT)
    package.main(["archive"])
    (package.BUILT / "CreateSession" / "handler.py").write_text("number = 43\n")
    (package.BUILT / "Old").mkdir()
    assert package.main(["unpack"]) == 0
    assert content(package.BUILT) == before
    assert not (package.BUILT / "Old").exists()


@pytest.mark.usefixtures("project")
def test_a_changed_archive_is_not_unpacked(capsys: pytest.CaptureFixture[str]) -> None:
    package.main(["archive"])
    archive = next(package.PLACE.glob("*.zip"))
    archive.write_bytes(archive.read_bytes() + b"\0")
    before = content(package.BUILT)
    assert package.main(["unpack"]) == 1
    assert "is not the archive of SHA256SUMS" in capsys.readouterr().err
    assert content(package.BUILT) == before


@pytest.mark.usefixtures("project")
def test_what_is_missing_is_stated_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert package.main(["unpack"]) == 1
    assert "run make package first" in capsys.readouterr().err
    shutil.rmtree(package.BUILT)
    assert package.main(["archive"]) == 1
    assert capsys.readouterr().err == "Nothing is built: run make build first.\n"


@pytest.mark.usefixtures("project")
def test_with_a_bucket_the_code_and_the_documents_are_uploaded(account: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": account.aws_url, "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=account.aws_url, region_name=account.region)
    client.create_bucket(Bucket="releases")
    assert package.main(["archive", "--bucket", "releases", "--region", account.region]) == 0
    packaged = yaml_parse((package.PLACE / "packaged.yaml").read_text())
    urls = [packaged["Resources"]["CreateSession"]["Properties"]["CodeUri"]]
    metadata = packaged["Metadata"]["AWS::ServerlessRepo::Application"]
    urls += [metadata["LicenseUrl"], metadata["ReadmeUrl"]]
    keys = {url.removeprefix("s3://releases/") for url in urls}
    assert keys == {each["Key"] for each in client.list_objects_v2(Bucket="releases")["Contents"]}
    assert all(key.startswith(f"terra-connections-{package.version()}/") for key in keys)


# --- AWS Serverless Application Repository ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def application() -> dict[str, Any]:
    text = (ROOT / "template.yaml").read_text()
    metadata: dict[str, Any] = yaml_parse(text)["Metadata"]["AWS::ServerlessRepo::Application"]
    return metadata


def test_the_published_version_and_licence_are_the_project_s(application: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert application["SemanticVersion"] == project["version"]
    assert application["SpdxLicenseId"] == project["license"]
    assert application["Name"] == project["name"]
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert (ROOT / application[name]).is_file()


def test_the_metadata_is_within_the_repository_s_limits(application: dict[str, Any]) -> None:
    # Of CreateApplication: https://docs.aws.amazon.com/serverlessrepo/latest/devguide/applications.html
    assert re.fullmatch(r"[a-zA-Z0-9\-]{1,140}", application["Name"])
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", application["Author"])
    assert 1 <= len(application["Description"]) <= 256
    assert 1 <= len(application["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]{1,127}", label) for label in application["Labels"])


def test_the_template_is_within_the_limit_of_templates_in_s3() -> None:
    # It was 460,800 bytes, and is 1 MB now. The packaged template is shorter than the source, which has comments.
    assert (ROOT / "template.yaml").stat().st_size < 460_800
