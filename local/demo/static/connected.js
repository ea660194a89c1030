// The page that users return to. Its URL is untrusted: the page requests the result from the API.

import { account, ApiError, call } from "./api.js";
import { outcome, tabs, watch } from "./login.js";

const $ = (id) => document.getElementById(id);

// If the tab that started the login is still open, it shows the result, and this one closes.
tabs.addEventListener("message", ({ data }) => data === "here" && window.close());

function show(session, name) {
  document.body.dataset.kind = session.status;
  $("title").textContent = { connected: "Connected", pending: "Almost there" }[session.status] ?? "Not connected";
  $("message").textContent = outcome(session, name);
}

// Not a failure: the login may have succeeded, but this browser may not read its result.
function showUnknown(message) {
  document.body.dataset.kind = "unknown";
  $("title").textContent = "Back in Pulse";
  $("message").textContent = message;
}

const NOT_READABLE = "This page cannot show how the login went. Open Pulse, signed in with the name you started it with.";

try {
  const sessionId = encodeURIComponent(new URLSearchParams(location.search).get("session_id") ?? "");
  if (!account.name || !sessionId) throw new ApiError(NOT_READABLE);
  const [session, { providers }] = await Promise.all([call("GET", `/sessions/${sessionId}`), call("GET", "/providers")]);
  const nameOf = ({ resource }) => providers.find((one) => one.resource === resource)?.name ?? "Your wearable";
  show(session, nameOf(session));
  tabs.postMessage("back");
  if (session.status === "pending") {
    const finished = await watch(sessionId);
    show(finished, nameOf(finished));
  }
} catch (error) {
  showUnknown(error.status === 404 ? NOT_READABLE : error.message);
}
