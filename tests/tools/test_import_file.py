"""The file of `make import`: what is read, and one clear line for what is not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.environment import ROOT, everything
from tools.import_users.report import Report
from tools.import_users.row import Outcome, Result, Row
from tools.import_users.users_file import UsersFile
from tools.stages import StageError

BOM = b"\xef\xbb\xbf"


def rows(path: Path, content: str | bytes) -> list[Row]:
    file = path / "users.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(UsersFile(file))


def outcomes(found: list[Row]) -> list[tuple[int, str, str]]:
    return [(row.line, row.outcome.result, row.outcome.detail) for row in found if row.outcome]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_delimiters_and_line_breaks_are_recognised(tmp_path: Path, delimiter: str, line_break: str) -> None:
    lines = [("user_id", "reference_id"), ("u1", "alice"), ("u2", '"a, b; c|d"')]
    content = line_break.join(delimiter.join(line) for line in lines)
    assert rows(tmp_path, content) == [Row(2, "u1", "alice", "alice"), Row(3, "u2", "a, b; c|d", "a, b; c|d")]


def test_a_byte_order_mark_quotes_empty_lines_other_columns_and_their_case_are_accepted(tmp_path: Path) -> None:
    content = BOM + b'\n "Email" , USER_ID ,Reference_Id,terra_reference_id\n\n,,,\nx,u1,"say ""hi""",\n'
    content = content.replace(b' "Email" ', b'"Email"')
    content += 'y,u2,"two\nlines",\nz,u3,jürgen 🙂,alt\n'.encode()
    assert rows(tmp_path, content) == [
        Row(5, "u1", 'say "hi"', 'say "hi"'),
        Row(
            6,
            "u2",
            "two\nlines",
            "two\nlines",
            Outcome(Result.MALFORMED, "reference_id must not contain control characters"),
        ),
        Row(8, "u3", "jürgen 🙂", "alt"),
    ]


def test_malformed_rows_are_reported_with_their_line(tmp_path: Path) -> None:
    lines = [
        "user_id,reference_id,terra_reference_id",
        "=HYPERLINK(1),alice,",
        "u 2,alice,",
        f"{'u' * 129},alice,",
        f"u4,{'a' * 300},",
        "u5,,",
        "u6,null,",
        f"u7,alice,{'a' * 300}",
        "u8,alice",
        "u9,alice,,",
        "u10,alice,null",
        "u11,=1+1,",
    ]
    found = rows(tmp_path, "\n".join(lines))
    user_id = "user_id must have 1 to 128 letters, digits, _ and -"
    assert outcomes(found) == [
        (2, "malformed", user_id),
        (3, "malformed", user_id),
        (4, "malformed", user_id),
        (5, "malformed", "reference_id must have at most 256 characters"),
        (6, "malformed", "reference_id must not be empty"),
        (7, "malformed", "reference_id must not be the word null, which Terra reads as no reference_id"),
        (8, "malformed", "terra_reference_id must have at most 256 characters"),
        (9, "malformed", "has 2 fields, and the first line 3"),
        (10, "malformed", "has 4 fields, and the first line 3"),
    ]
    # A reference_id may start with any character; Terra has to confirm it.
    assert found[-2:] == [Row(11, "u10", "alice", "null"), Row(12, "u11", "=1+1", "=1+1")]


def test_repeated_rows_are_duplicates_and_contradicting_rows_are_all_conflicts(tmp_path: Path) -> None:
    lines = ["user_id,reference_id,terra_reference_id", "u1,alice,", "u2,bob,", "u1,alice,alice", "u2,carol,", "u1,,"]
    lines += ["u3,dora,", "u3,dora,old"]
    found = rows(tmp_path, "\n".join(lines))
    both, others = "the lines 3, 5 have different values", "the lines 7, 8 have different values"
    assert [row.outcome is None for row in found] == [True, False, False, False, False, False, False]
    assert outcomes(found) == [
        (3, "conflict", f"{both} for this user_id"),
        (4, "duplicate", "the same as line 2"),
        (5, "conflict", f"{both} for this user_id"),
        (6, "malformed", "reference_id must not be empty"),
        (7, "conflict", f"{others} for this user_id"),
        (8, "conflict", f"{others} for this user_id"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "users.csv is empty: its first line must name the columns user_id and reference_id."),
        (b"\n \n", "is empty"),
        (b"id,reference_id\n1,2\n", "line 1 must name the columns user_id and reference_id (terra_reference_id is"),
        (b"u1,alice\n", "line 1 must name"),
        (b"user_id:reference_id\n", "separated by a comma, semicolon, tab or |"),
        (b"user_id,reference_id,user_id\n", "once each"),
        ("user_id,reference_id\nu1,jürgen\n".encode("latin-1"), "line 2 is not UTF-8: save the file as UTF-8"),
        ("user_id,reference_id\nu1,alice\n".encode("utf-16"), "line 1 is UTF-16: save the file as UTF-8"),
        (b'user_id,reference_id\nu1,"alice\nu2,bob\n', "line 2 is not CSV (unexpected end of data): look for a"),
        (b'user_id,reference_id\nu1,"alice"x\n', "line 2 is not CSV"),
        (b'user_id,reference_id\nu1,"' + b"a\n" * 100_000, "line 2 is not CSV (field larger than field limit"),
        (b"user_id,reference_id\ru1,alice\r" * 3000, "line 1 is longer than 65536 bytes"),
    ],
)
def test_a_file_that_is_not_such_a_csv_is_rejected_as_a_whole(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(StageError, match=re.escape(expected)) as error:
        rows(tmp_path, content)
    assert "\n" not in str(error.value)
    assert "alice" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(StageError, match=rf"{re.escape(str(path))} cannot be read: .*Set FILE to a CSV file"):
            UsersFile(path)


def test_the_report_is_private_and_contains_no_formula(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    previous = os.umask(0)
    try:
        with Report(folder, "dev-plan", rows=2) as report:
            report.add(Row(2, "u1", "=1+1", "@SUM(A1)"), Outcome(Result.TO_ADOPT))
            report.add(Row(3, "u2", "bob"), Outcome(Result.OTHER_OWNER, "Terra has another", "+49"))
    finally:
        os.umask(previous)
    assert report.path.stat().st_mode & 0o777 == 0o600
    assert report.path.read_text().splitlines() == [
        "line,user_id,reference_id,terra_reference_id,result,detail",
        "2,u1,'=1+1,'@SUM(A1),to_adopt,",
        "3,u2,bob,'+49,other_owner,Terra has another",
    ]
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match="Set REPORTS to another folder"):
        Report(tmp_path / "file", "dev-plan", rows=None)


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    def run(count: int) -> dict[str, int]:
        command = [sys.executable, "-m", "tests.support.import_stub", str(count), str(tmp_path)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "layers/terra_connections")])
        environment = everything() | {"PYTHONPATH": path}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return result

    few, many = run(1000), run(100_000)
    assert (few["stored"], many["stored"]) == (1000, 100_000)
    assert many["peak"] - few["peak"] < 20_000_000, (few, many)
