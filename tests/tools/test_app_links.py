"""Which paths match an apple-app-site-association, by Apple's documentation of its patterns."""

from __future__ import annotations

import json

import pytest

from tools.doctor.app_links import Association

APP = "ABCDE12345.com.example.app"


def opens(path: str, details: object, **applinks: object) -> bool | None:
    file = {"applinks": {"details": details, **applinks}}
    return Association.model_validate_json(json.dumps(file)).applinks.opens(path)


@pytest.mark.parametrize(
    ("pattern", "path", "is_opened"),
    [
        ("/connected", "/connected", True),
        ("/connected", "/connected/", False),
        ("/connected", "/Connected", False),
        ("*", "/connected", True),
        ("/*", "/a/b/c", True),
        ("/a/*/c", "/a/b/x/c", True),
        ("/a/?*", "/a/", False),
        ("/a/?*", "/a/b", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a.c", "/abc", False),
        ("/$(lang)/*", "/en/x", None),
        ("/caf%C3%A9", "/cafe", None),
    ],
)
def test_paths_are_matched_as_documented_by_apple(pattern: str, path: str, is_opened: bool | None) -> None:  # noqa: FBT001 - an expectation
    assert opens(path, [{"appIDs": [APP], "components": [{"/": pattern}]}]) is is_opened
    assert opens(path, [{"appID": APP, "paths": [pattern]}]) is is_opened


@pytest.mark.parametrize(
    ("components", "is_opened"),
    [
        ([], False),
        ([{}], True),
        ([{"/": "/connected", "exclude": True}, {"/": "/*"}], False),
        ([{"/": "/*"}, {"/": "/connected", "exclude": True}], True),
        ([{"#": "no_universal_links", "exclude": True}, {"/": "/*"}], True),
        ([{"/": "/CONNECTED", "caseSensitive": False}], True),
        ([{"/": "/connected", "?": {"status": "success"}}], None),
        ([{"/": "/else", "?": {"status": "success"}}], False),
        ([{"/": "/connected"}, {"/": "/connected", "?": "x=*", "exclude": True}], True),
    ],
)
def test_the_first_matching_component_applies(components: object, is_opened: bool | None) -> None:  # noqa: FBT001 - an expectation
    assert opens("/connected", [{"appIDs": [APP], "components": components}]) is is_opened


def test_old_paths_are_excluded_by_not() -> None:
    assert opens("/connected", [{"appID": APP, "paths": ["NOT /connected", "*"]}]) is False


def test_one_app_must_open_a_path_and_defaults_are_inconclusive() -> None:
    closed, opened = ({"appIDs": [APP], "components": [{"/": path}]} for path in ("/else", "/connected"))
    without_rules = {"appIDs": [APP]}
    assert opens("/connected", [closed, without_rules, opened]) is True
    assert opens("/connected", [closed, without_rules]) is None
    assert opens("/connected", [closed]) is False
    assert opens("/connected", [closed], defaults={"caseSensitive": False}) is None
    assert opens("/connected", [{**closed, "defaults": {"caseSensitive": False}}]) is None
