"""How the artefacts are built, and which errors stop a build."""

from pathlib import Path

import pytest

from tools import build, pythons

ANNOTATED_TYPES = "annotated-types==0.8.0 --hash=sha256:"


@pytest.fixture
def no_lambda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "places", lambda *_: [])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "source"
    (place / "tests").mkdir(parents=True)
    (place / "handler.py").write_text("number = 42\n")
    (place / "notes.txt").write_text("not for Lambda")
    return place


@pytest.mark.usefixtures("no_lambda_python")
def test_without_lambdas_python_the_build_succeeds(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    target = tmp_path / "target"
    assert build.main(["own", "--source", str(source), "--installed-at", "/var/task", "--to", str(target)]) == 0
    assert [path.name for path in build.files(target)] == ["handler.py"]


@pytest.mark.usefixtures("no_lambda_python")
def test_without_lambdas_python_the_build_prints_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    lock = tmp_path / "nothing.txt"
    lock.write_text("")
    build.make_packages(lock, tmp_path / "target", [], None)
    assert capsys.readouterr().out.splitlines() == [
        "No Python 3.13 was found: the artefacts contain no byte-code, and cold starts will be slower."
    ]


@pytest.mark.usefixtures("no_lambda_python")
def test_with_require_all_a_build_without_byte_code_fails(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REQUIRE_ALL", "1")
    target = str(tmp_path / "target")
    assert build.main(["own", "--source", str(source), "--installed-at", "/var/task", "--to", target]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_package_with_another_hash_stops_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"{ANNOTATED_TYPES}{'0' * 64}\n")
    with pytest.raises(build.BuildError, match="could not install"):
        build.install(lock, tmp_path / "target", "aarch64")
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_a_module_that_differs_between_architectures_stops_the_build(tmp_path: Path) -> None:
    for architecture in ("aarch64", "x86_64"):
        (tmp_path / architecture / "package").mkdir(parents=True)
        (tmp_path / architecture / "package" / "module.abi3.so").write_text(architecture)
    target = tmp_path / "target"
    build.merge(tmp_path / "aarch64", target)
    with pytest.raises(build.BuildError, match=r"package/module\.abi3\.so"):
        build.merge(tmp_path / "x86_64", target)


def test_a_service_that_botocore_does_not_have_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="no service 'dynamo'"):
        build.prune(tmp_path, ["dynamo"])


@pytest.mark.parametrize(
    "name",
    [
        "botocore/data/dynamodb/2012-08-10/service-2.json.gz",
        "botocore/data/endpoints.json",
        "botocore/__init__.py",
        "boto3/data/dynamodb/2012-08-10/resources-1.json",
        "botocore-1.0.dist-info/LICENSE.txt",
        "pydantic-2.0.dist-info/licenses/LICENSE",
        "pydantic-2.0.dist-info/METADATA",
        "latest/contest.py",
    ],
)
def test_files_that_lambda_needs_are_kept(name: str) -> None:
    assert build.is_needed(name, ["dynamodb"])


@pytest.mark.parametrize(
    "name",
    [
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "botocore/data/dynamodb/2012-08-10/examples-1.json",
        "boto3/data/ec2/2016-11-15/resources-1.json",
        "botocore-1.0.dist-info/RECORD",
        "certifi/tests/__init__.py",
        "bin/httpx",
        "pydantic_core/_pydantic_core.pyi",
    ],
)
def test_files_that_lambda_never_reads_are_removed(name: str) -> None:
    assert not build.is_needed(name, ["dynamodb"])


def test_documentation_texts_are_removed_and_members_of_that_name_are_kept() -> None:
    model = {"documentation": "text", "members": {"documentation": {"shape": "Text", "documentation": "text"}}}
    assert build.undocumented(model) == {"members": {"documentation": {"shape": "Text"}}}
    required = {"clientContextParams": {"Accelerate": {"documentation": "text", "type": "boolean"}}}
    assert build.undocumented(required) == required
