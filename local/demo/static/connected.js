// The page that users return to. Its URL is untrusted: the page requests the result from the API.

import { account, ApiError, call } from "./api.js";
import { outcome } from "./outcome.js";
import { loadProviders, nameOf } from "./providers.js";

const $ = (id) => document.getElementById(id);
const WAIT = { first: 1000, most: 10_000 }; // milliseconds between two requests

// If the tab that started the login is still open, it shows the result, and this one closes.
const tabs = new BroadcastChannel("terra-connect");
tabs.addEventListener("message", ({ data }) => data === "here" && window.close());

/** Asks for the other tab a few times: a tab in the background may be slow to respond. */
function announce(times = 5) {
  tabs.postMessage("back");
  if (times > 1) setTimeout(announce, 1000, times - 1);
}

function show(session, name) {
  const { title, text, isRetryable } = outcome(session, name);
  document.body.dataset.kind = session.status;
  $("title").textContent = title;
  $("message").textContent = text;
  $("again").hidden = !isRetryable;
}

// Not a failure: the login may have succeeded, but this browser may not read its result.
function showUnknown(message) {
  document.body.dataset.kind = "unknown";
  $("title").textContent = "Back in Pulse";
  $("message").textContent = message;
  $("again").hidden = true;
}

/** Begins the same login again, in this tab. */
async function startAgain({ resource, repairs }) {
  $("again").disabled = true;
  try {
    const body = repairs ? { user_id: repairs } : { resource };
    const session = await call("POST", "/sessions", { ...body, return_to: "web" });
    localStorage.setItem("login", session.session_id);
    location.assign(session.auth_url);
  } catch (error) {
    $("message").textContent = MESSAGES(error);
    $("again").disabled = false;
  }
}

const NOT_READABLE = "This page cannot show how the login went. Open Pulse, signed in with the name you started it with.";
const UNREACHABLE = "Pulse cannot be reached at the moment. Open Pulse later to see your wearables.";
const MESSAGES = (error) => (error.isTemporary ? UNREACHABLE : NOT_READABLE);

try {
  const sessionId = encodeURIComponent(new URLSearchParams(location.search).get("session_id") ?? "");
  if (!account.name || !sessionId) throw new ApiError(NOT_READABLE, 404);
  await loadProviders();
  let session = await call("GET", `/sessions/${sessionId}`);
  show(session, nameOf(session.resource));
  announce();
  for (let pause = WAIT.first; session.status === "pending"; pause = Math.min(pause * 1.5, WAIT.most)) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    session = await call("GET", `/sessions/${sessionId}`);
    show(session, nameOf(session.resource));
  }
  if (localStorage.getItem("login") === session.session_id) localStorage.removeItem("login");
  $("again").addEventListener("click", () => startAgain(session));
} catch (error) {
  showUnknown(MESSAGES(error));
}
