// The app's page: who you are, what you have connected, and what you can connect.

import { account, call } from "./api.js";
import { connect, outcome, tabs, watch } from "./login.js";

const $ = (id) => document.getElementById(id);
let providers = [];

const nameOf = (resource) => providers.find((one) => one.resource === resource)?.name ?? resource ?? "Your wearable";

function tell(text, kind = "") {
  $("status").textContent = text;
  $("status").dataset.kind = kind;
}

/** Does what may fail, and tells in words when it does. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    tell(error.message, "failed");
  }
}

async function start(resource) {
  tell("One moment …", "pending");
  const session = await connect(resource);
  localStorage.setItem("login", session.session_id); // so that a reload goes on watching
  await follow(session.session_id, resource);
}

async function follow(sessionId, resource) {
  tell(`${resource ? nameOf(resource) : "Your choice"} is waiting for you in the other tab.`, "pending");
  const session = await watch(sessionId).finally(() => {
    if (localStorage.getItem("login") === sessionId) localStorage.removeItem("login");
  });
  if (!session) return;
  tell(outcome(session, nameOf(session.resource)), session.status);
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
      if (!confirm(`Disconnect ${name}? We will get no new data from it.`)) return;
      await call("DELETE", `/connections/${user_id}`);
      tell(`${name} is disconnected.`);
      await list();
    });
    return row;
  });
  $("connections").replaceChildren(...rows);
  $("none").hidden = rows.length > 0;
}

function offer() {
  const wanted = $("search").value.trim().toLowerCase();
  const found = providers.filter(({ name }) => name.toLowerCase().includes(wanted));
  const rows = found.map(({ resource, name, type }) => {
    const row = fill("provider", { name, note: type === "sdk" ? "in our phone app" : "" });
    button(row, "button", `Connect ${name}`, () => start(resource)).disabled = type === "sdk";
    return row;
  });
  $("providers").replaceChildren(...rows);
  $("found").textContent = rows.length ? "" : "We know none of that name.";
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
  tell("");
  ({ providers } = await call("GET", "/providers"));
  offer();
  await list();
  const unfinished = localStorage.getItem("login");
  if (unfinished) await follow(unfinished);
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
$("search").addEventListener("input", offer);
$("any").addEventListener("click", () => attempt(() => start()));
tabs.addEventListener("message", ({ data }) => data === "back" && tabs.postMessage("here"));
attempt(show);
