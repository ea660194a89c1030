"""The simulator's pages: plain HTML forms that work without script and on a phone."""

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from starlette.responses import HTMLResponse

from terra_simulator.providers import PROVIDERS
from terra_simulator.users import Login, WidgetSession

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #f4f5f7; --card: #fff; --line: #d0d7de;
  --strong: #0b5cad; --on-strong: #fff; --note: #fff3cd; --on-note: #523c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --paper: #0d1117; --card: #161b22;
  --line: #3d444d; --strong: #58a6ff; --on-strong: #06111f; --note: #3b2f00; --on-note: #ffe9a8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 0 auto; padding: 1.5rem 1rem; }
.note { margin: 0 0 1rem; padding: .6rem .9rem; border-radius: .5rem; background: var(--note); color: var(--on-note); }
.card { padding: 1.25rem; border: 1px solid var(--line); border-radius: .75rem; background: var(--card); }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.25; }
dl { margin: 0 0 1rem; } dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
label { display: block; margin-bottom: .25rem; }
input { width: 100%; padding: .7rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--paper);
  color: inherit; font: inherit; }
.hint { margin: .25rem 0 1rem; color: var(--soft); font-size: .875rem; }
button { display: block; width: 100%; min-height: 2.9rem; margin-top: .6rem; border: 1px solid var(--line);
  border-radius: .5rem; background: transparent; color: inherit; font: inherit; cursor: pointer; }
button.strong { border-color: var(--strong); background: var(--strong); color: var(--on-strong); font-weight: 600; }
a { color: var(--strong); }
"""

HEADERS: Final = {
    # No form-action here: browsers apply it to the redirect that follows the form, which leads to the developer's app.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def consent(login: Login, *, account: str) -> HTMLResponse:
    """Let the end user allow or deny the access that the developer's app requests."""
    title = PROVIDERS[login.resource].title
    return _page(
        f"Connect {title}",
        f"""<h1>Connect {escape(title)}?</h1>
{_facts(login.resource, login.reference_id)}
<p>The app requests access to your {escape(title)} data.</p>
<form method="post">
<label for="account">Account at {escape(title)}</label>
<input id="account" name="account" value="{escape(account)}" autocomplete="off" autocapitalize="none" maxlength="200"
 aria-describedby="account-hint">
<p class="hint" id="account-hint">Use a different account name to simulate a second device.</p>
<button class="strong" name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form>""",
    )


def picker(session: WidgetSession) -> HTMLResponse:
    """Let the end user choose a provider, as Terra's widget does."""
    buttons = "\n".join(
        f'<button name="provider" value="{escape(name)}">{escape(PROVIDERS[name].title)}</button>'
        for name in session.providers
    )
    return _page(
        "Choose your wearable",
        f"""<h1>Choose your wearable</h1>
{_facts(None, session.reference_id)}
<form method="post">
{buttons}
<button name="decision" value="deny">Cancel</button>
</form>""",
    )


def finished(*, is_connected: bool, redirect: str | None) -> HTMLResponse:
    """Show how a login ended, with the link back to the app if there is one."""
    heading = "You are connected" if is_connected else "Nothing was connected"
    onward = (
        "<p>You can close this page and go back to the app.</p>"
        if redirect is None
        else f'<p>This login is finished. <a href="{escape(redirect)}">Back to the app</a></p>'
    )
    return _page(heading, f"<h1>{heading}</h1>\n{onward}")


def use_the_app(provider: str) -> HTMLResponse:
    """Show that a provider is connected on the phone, if there is no app to go back to."""
    title = escape(PROVIDERS[provider].title)
    return _page(f"{title} is on your phone", f"<h1>{title} is on your phone</h1>\n<p>Connect it inside the app.</p>")


def refusal(heading: str, explanation: str, status: HTTPStatus) -> HTMLResponse:
    """Show why a page cannot be used."""
    return _page(heading, f"<h1>{escape(heading)}</h1>\n<p>{escape(explanation)}</p>", status)


def _facts(resource: str | None, reference_id: str | None) -> str:
    shown = [("App", "the developer account of this simulator")]
    if resource is not None:
        shown.append(("Provider", f"{PROVIDERS[resource].title} ({resource})"))
    shown.append(("User (reference_id)", reference_id if reference_id is not None else "none"))
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in shown) + "</dl>"


def _page(title: str, content: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    return document(title, f'<div class="card">\n{content}\n</div>', status)


def document(
    title: str,
    content: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    style: str = "",
    headers: Mapping[str, str] = HEADERS,
) -> HTMLResponse:
    """One page of the simulator, with a header that identifies it as such."""
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - Terra simulator</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<main>
<p class="note"><strong>Terra simulator.</strong> This is not a real provider: no password, no real data.</p>
{content}
</main>
</body>
</html>
""",
        status,
        headers,
    )
