// Where the person comes back to. The address names a login and claims an outcome; what is true the API says.

import { account, call } from "./api.js";
import { outcome, tabs, watch } from "./login.js";

const $ = (id) => document.getElementById(id);

// The tab from which the person came takes over, if it is still there: then this one is no longer needed.
tabs.addEventListener("message", ({ data }) => data === "here" && window.close());

function show(session, name) {
  document.body.dataset.kind = session.status;
  $("title").textContent = { connected: "Connected", pending: "Almost there" }[session.status] ?? "Not connected";
  $("words").textContent = outcome(session, name);
}

try {
  const sessionId = encodeURIComponent(new URLSearchParams(location.search).get("session_id") ?? "");
  if (!account.name) throw new Error("Please sign in to the app, in the browser in which you began.");
  if (!sessionId) throw new Error("Nothing came back with you. Please try again in the app.");
  const [session, { providers }] = await Promise.all([call("GET", `/sessions/${sessionId}`), call("GET", "/providers")]);
  const nameOf = ({ resource }) => providers.find((one) => one.resource === resource)?.name ?? "Your wearable";
  show(session, nameOf(session));
  tabs.postMessage("back");
  if (session.status === "pending") {
    const over = await watch(sessionId);
    show(over, nameOf(over));
  }
} catch (error) {
  show({ status: "failed" }, "Your wearable");
  $("words").textContent = error.message;
}
