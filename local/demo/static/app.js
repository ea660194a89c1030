// The app's page: the sign-in, the user's connections, and the providers to connect.

import { account, call } from "./api.js";
import { connect, outcome, tabs, watch } from "./login.js";

const $ = (id) => document.getElementById(id);
let providers = [];

const nameOf = (resource) => providers.find((one) => one.resource === resource)?.name ?? resource ?? "Your wearable";

function showStatus(text, kind = "") {
  $("status").textContent = text;
  $("status").dataset.kind = kind;
}

/** Runs an action; shows the message of its error. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    showStatus(error.message, "failed");
  }
}

async function start(resource) {
  showStatus("Opening the login …", "pending");
  const session = await connect(resource);
  localStorage.setItem("login", session.session_id); // so that a reload continues to wait for the result
  await follow(session.session_id, resource);
}

async function follow(sessionId, resource) {
  showStatus(`Continue ${resource ? `with ${nameOf(resource)} ` : ""}in the other tab.`, "pending");
  const session = await watch(sessionId).finally(() => {
    if (localStorage.getItem("login") === sessionId) localStorage.removeItem("login");
  });
  if (!session) return;
  showStatus(outcome(session, nameOf(session.resource)), session.status);
  await list();
}

const STATUS = { connected: "Connected", needs_reauth: "Please reconnect", revoked: "Disconnected" };

async function list() {
  const { connections } = await call("GET", "/connections");
  const rows = connections.map(({ user_id, provider, status }) => {
    const name = nameOf(provider);
    const row = fill("connection", { name, note: STATUS[status] });
    row.dataset.status = status;
    button(row, ".again", `Reconnect ${name}`, () => start(provider));
    button(row, ".end", `Disconnect ${name}`, async () => {
      if (!confirm(`Disconnect ${name}? Pulse will receive no new data from it.`)) return;
      await call("DELETE", `/connections/${user_id}`);
      showStatus(`${name} is disconnected.`);
      await list();
    });
    return row;
  });
  $("connections").replaceChildren(...rows);
  $("none").hidden = rows.length > 0;
}

function showProviders() {
  const query = $("search").value.trim().toLowerCase();
  const found = providers.filter(({ name }) => name.toLowerCase().includes(query));
  const rows = found.map(({ resource, name, type }) => {
    const row = fill("provider", { name, note: type === "sdk" ? "in our mobile app" : "" });
    button(row, "button", `Connect ${name}`, () => start(resource)).disabled = type === "sdk";
    return row;
  });
  $("providers").replaceChildren(...rows);
  $("found").textContent = rows.length ? "" : `No provider matches "${query}".`;
}

function fill(kind, texts) {
  const row = $(kind).content.firstElementChild.cloneNode(true);
  for (const [part, text] of Object.entries(texts)) row.querySelector(`.${part}`).textContent = text;
  row.querySelector(".icon").textContent = texts.name[0]; // or the provider's icon_url, which is on Terra's server
  return row;
}

function button(row, selector, label, action) {
  const found = row.querySelector(selector);
  found.ariaLabel = label;
  found.addEventListener("click", () => attempt(action));
  return found;
}

async function show() {
  $("sign-in").hidden = Boolean(account.name);
  $("account").hidden = $("home").hidden = !account.name;
  if (!account.name) return;
  $("who").textContent = account.name;
  showStatus("");
  const unfinished = localStorage.getItem("login"); // before a click can start another one
  ({ providers } = await call("GET", "/providers"));
  showProviders();
  await list();
  if (unfinished && unfinished === localStorage.getItem("login")) await follow(unfinished);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  account.signIn($("name").value.trim());
  attempt(show);
});
$("sign-out").addEventListener("click", () => {
  account.signOut();
  location.reload();
});
$("search").addEventListener("input", showProviders);
$("any").addEventListener("click", () => attempt(() => start()));
tabs.addEventListener("message", ({ data }) => data === "back" && tabs.postMessage("here"));
attempt(show);
