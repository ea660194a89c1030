// Where the person comes back to. The address names a login and claims an outcome; what is true the API says.

import { account, ApiError, call } from "./api.js";
import { outcome, tabs, watch } from "./login.js";

const $ = (id) => document.getElementById(id);

// The tab from which the person came takes over, if it is still there: then this one is no longer needed.
tabs.addEventListener("message", ({ data }) => data === "here" && window.close());

function show(session, name) {
  document.body.dataset.kind = session.status;
  $("title").textContent = { connected: "Connected", pending: "Almost there" }[session.status] ?? "Not connected";
  $("words").textContent = outcome(session, name);
}

// Not a failure: the login may well have succeeded, and only this page, in this browser, cannot ask.
function cannotTell(words) {
  document.body.dataset.kind = "unknown";
  $("title").textContent = "Back in Pulse";
  $("words").textContent = words;
}

const ELSEWHERE = "This page cannot show how the login went. Look in Pulse, signed in under the name you started it with.";

try {
  const sessionId = encodeURIComponent(new URLSearchParams(location.search).get("session_id") ?? "");
  if (!account.name || !sessionId) throw new ApiError(ELSEWHERE);
  const [session, { providers }] = await Promise.all([call("GET", `/sessions/${sessionId}`), call("GET", "/providers")]);
  const nameOf = ({ resource }) => providers.find((one) => one.resource === resource)?.name ?? "Your wearable";
  show(session, nameOf(session));
  tabs.postMessage("back");
  if (session.status === "pending") {
    const over = await watch(sessionId);
    show(over, nameOf(over));
  }
} catch (error) {
  cannotTell(error.status === 404 ? ELSEWHERE : error.message);
}
