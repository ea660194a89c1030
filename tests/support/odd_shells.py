"""Variables that a shell may have set for other programs. Commands that use only this machine must ignore them."""

UNREACHABLE = "http://127.0.0.1:9"
UNREACHABLE_PROXIES = {
    name: UNREACHABLE for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
}
ODD_PYTHON = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "/nonexistent",
    "PYTHONSTARTUP": "/nonexistent",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "no number",
    "PYTHONUSERBASE": "/nonexistent",
    "PYTEST_ADDOPTS": "--no-such-option",
}
ODD_PIP = {
    "PIP_USER": "1",
    "PIP_TARGET": "/nonexistent",
    "PIP_NO_BINARY": ":all:",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_CONSTRAINT": "/nonexistent",
    "PIP_PYTHON": "/nonexistent",
    "PIP_DRY_RUN": "1",
    "UV_SYSTEM_PYTHON": "1",
    "UV_NO_BINARY": "1",
    "UV_PYTHON": "2.7",
    "UV_CONSTRAINT": "/nonexistent",
}
PROXIES = {
    "unreachable proxies": UNREACHABLE_PROXIES,
    "a SOCKS proxy": {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5h://127.0.0.1:9"},
    "a malformed proxy": {"HTTPS_PROXY": "://", "HTTP_PROXY": "nonsense"},
}
LOCAL_ONLY = {
    "a missing profile": {"AWS_PROFILE": "missing"},
    "an incomplete access key": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": ""},
    "another endpoint": {"AWS_ENDPOINT_URL": UNREACHABLE},
    "a missing CA bundle": {"AWS_CA_BUNDLE": "/nonexistent"},
    "an invalid region": {"AWS_REGION": "eu west 1", "AWS_DEFAULT_REGION": "eu west 1"},
    **PROXIES,
    "unusual Python settings": ODD_PYTHON,
    "unusual pip settings": ODD_PIP,
    "a virtual environment of another project": {"VIRTUAL_ENV": "/nonexistent", "CONDA_PREFIX": "/nonexistent"},
    "a minimal terminal": {"TERM": "dumb", "LANG": "C", "LC_ALL": "C", "TZ": "Nowhere/Land", "COLUMNS": "1"},
}


def odd_shell(*, proxies: bool) -> dict[str, str]:
    """Return all of them, without Python's own variables, which make does not pass on."""
    shells = [variables for name, variables in LOCAL_ONLY.items() if proxies or name not in PROXIES]
    odd = {name: value for variables in shells for name, value in variables.items()}
    return {name: value for name, value in odd.items() if not name.startswith("PYTHON")}
