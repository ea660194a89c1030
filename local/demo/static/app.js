// The app's page: the sign-in, the user's wearables, and the component with which the user connects one.

import { account, call, config, renewToken, token } from "./api.js";
import { actions, dismissEnded, list } from "./connections.js";
import { outcome } from "./outcome.js";
import { loadProviders, nameOf } from "./providers.js";
import { close, toast } from "./toast.js";

const $ = (id) => document.getElementById(id);
const EVERY = 5000; // milliseconds between two readings of the list, while the page is visible
const ATTRIBUTES = { "api-url": config.api, "app-name": "Pulse", "return-to": "web", lang: "en" };
const connect = document.createElement("terra-connect");
const RENEWED_AT_MOST = 60_000; // once in this time, in milliseconds
let renewed = 0, isListed = false, hasFailed = false, reading, timer;

function show(state) {
  document.body.dataset.state = state;
  const isSignedOut = state === "signed-out" || state === "expired";
  $("sign-in").hidden = !isSignedOut;
  $("account").hidden = $("home").hidden = isSignedOut;
  $("ended").hidden = state !== "expired";
  $("loading").hidden = state !== "loading";
  $("failed").hidden = state !== "failed";
  $("stale").hidden = state !== "stale";
  $("connections").hidden = ["loading", "failed"].includes(state);
  $("none").hidden = state !== "ready" || $("connections").children.length > 0;
}

/** Reads the list again; a second call waits for the first one. */
function refresh() {
  reading ??= read().finally(() => { reading = undefined; });
  return reading;
}

async function read() {
  clearTimeout(timer);
  const name = account.name;
  if (!name) return;
  try {
    await loadProviders();
    const connections = await list();
    if (name !== account.name) return;
    isListed = true;
    if (hasFailed) $("connect").replaceChildren(connect); // reads the providers again
    hasFailed = false;
    connect.connected = connections.filter(({ status }) => status === "connected").map(({ provider }) => provider);
    show("ready");
  } catch (error) {
    failed(error);
    hasFailed ||= !isListed;
    if (!error.isSignedOut) show(isListed ? "stale" : "failed");
  }
  if (account.name) timer = setTimeout(() => document.hidden || refresh(), EVERY);
}

function failed(error) {
  if (error.isSignedOut || error.status === 401) signOut("expired");
}

function signOut(state) {
  account.signOut();
  clearTimeout(timer);
  isListed = false;
  close();
  $("disconnect").close();
  connect.remove(); // it belongs to the user who was signed in
  location.replace(state === "expired" ? "./?signed-out" : "./");
}

function start() {
  $("who").textContent = $("who").title = account.name;
  $("initial").textContent = account.name[0].toUpperCase();
  show("loading");
  // They can be in the page's HTML instead if the address of the API is known when the page is written.
  for (const [name, value] of Object.entries(ATTRIBUTES)) connect.setAttribute(name, value);
  connect.getToken = token;
  $("connect").replaceChildren(connect);
  const unfinished = localStorage.getItem("login"); // of before a reload
  if (unfinished) connect.follow(unfinished);
  return refresh();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  $("name-problem").textContent = name ? "" : "Enter a name to sign in.";
  $("name").ariaInvalid = String(!name);
  if (!name) return $("name").focus();
  account.signIn(name);
  history.replaceState(null, "", "./");
  start();
});
$("sign-out").addEventListener("click", () => signOut("signed-out"));
for (const id of ["retry", "stale-retry"]) {
  $(id).addEventListener("click", () => {
    if (!isListed) show("loading");
    refresh();
  });
}
$("any").addEventListener("click", () => connect.connect()); // the user picks on Terra's page
document.addEventListener("visibilitychange", () => document.hidden || refresh());
addEventListener("focus", refresh);
addEventListener("online", refresh);

// The component's events. It shows the login itself; the outcome is shown near the thumb, wherever the page is scrolled.
connect.addEventListener("terra-session", ({ detail }) => {
  close();
  localStorage.setItem("login", detail.sessionId); // so that a reload continues to wait for the result
});
connect.addEventListener("terra-connected", ({ detail: { session } }) => {
  localStorage.removeItem("login");
  const { title, text } = outcome(session, nameOf(session.resource));
  toast(title, { text, kind: "connected" });
  connect.cancel(); // back to the providers: the message is the outcome
  dismissEnded(session.resource);
  refresh();
});
connect.addEventListener("terra-failed", ({ detail: { session } }) => {
  localStorage.removeItem("login");
  const { resource, repairs } = session;
  const { title, text, isRetryable } = outcome(session, nameOf(resource));
  const again = () => (repairs ? connect.repair(repairs, nameOf(resource)) : connect.connect(resource ?? undefined));
  toast(title, { text, kind: "failed", action: isRetryable && { label: "Try again", run: again } });
  connect.cancel();
});
connect.addEventListener("terra-cancelled", () => localStorage.removeItem("login"));
connect.addEventListener("terra-error", async ({ detail: { problem } }) => {
  localStorage.removeItem("login");
  const isRejected = problem.status === 401 || (problem.status === 403 && !problem.code);
  if (!isRejected || !account.name) return;
  if (Date.now() - renewed < RENEWED_AT_MOST) return signOut("expired");
  renewed = Date.now();
  renewToken();
  await refresh(); // which ends the session if the new token is rejected, too
  if (account.name) $("connect").replaceChildren(connect); // reads the providers again
});

actions.repair = ({ user_id, provider }) => connect.repair(user_id, nameOf(provider));
actions.connect = (provider) => connect.connect(provider);
actions.refresh = refresh;
actions.failed = failed;

if (account.name) start();
else show(new URLSearchParams(location.search).has("signed-out") ? "expired" : "signed-out");
