// The list of the user's wearables: a row with a menu for each connection, and a banner for those that need attention.

import { account, call, callBackEnd } from "./api.js";
import { ask } from "./disconnect.js";
import { menu } from "./menu.js";
import { logo, nameOf } from "./providers.js";

const $ = (id) => document.getElementById(id);
const rows = new Map();
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const STALE = 5; // minutes: if a response of Terra's confirmed the login, it is dated back by two
const ORDER = ["needs_reauth", "connected", "revoked"];
let reasons = {}, lastData = {};

/** What the page does with a connection; app.js sets it. */
export const actions = { repair() {}, connect() {}, async refresh() {}, failed() {} };
/** When the latest data of each `user_id` arrived, in milliseconds; data.js sets it. */
export function setLastData(times) {
  lastData = times;
  for (const row of rows.values()) describe(row);
}

/** Reads the list from the API, and shows it. */
export async function list() {
  const { connections } = await call("GET", "/connections?include=revoked");
  const isUnexplained = ({ status, user_id }) => status === "revoked" && !(user_id in reasons);
  if (connections.some(isUnexplained)) reasons = await callBackEnd("reasons.json").catch(() => reasons);
  const shown = connections.filter((one) => one.status !== "revoked" || isNews(one, connections));
  shown.sort((one, other) => ORDER.indexOf(one.status) - ORDER.indexOf(other.status)); // then the newest first
  const names = distinct(shown);
  const current = shown.map((one) => {
    const row = rows.get(one.connection_id) ?? make(one.connection_id);
    row.connection = { ...one, name: names.get(one.connection_id) };
    describe(row);
    return row;
  });
  for (const [id, row] of rows) if (!current.includes(row)) rows.delete(id);
  const { children } = $("connections");
  if (children.length !== current.length || current.some((row, place) => children[place] !== row)) {
    $("connections").replaceChildren(...current);
  }
  warn(shown.filter(({ status }) => status === "needs_reauth"));
  return connections;
}

/** Whether the user does not know yet that a connection has ended, and has not connected this provider again. */
function isNews({ connection_id, user_id, provider, updated_at }, all) {
  if (reasons[user_id] === "disconnect" || dismissed().includes(connection_id)) return false;
  return !all.some((one) => one.status !== "revoked" && one.provider === provider && one.connected_at > updated_at);
}

const dismissed = () => JSON.parse(localStorage.getItem(`dismissed ${account.name}`) ?? "[]");
function dismiss(id) {
  localStorage.setItem(`dismissed ${account.name}`, JSON.stringify([...dismissed(), id].slice(-50)));
}

/** Stops showing the ended connections of a provider that the user has connected again: their times may not tell, because a response of Terra's dates a login back. */
export function dismissEnded(provider) {
  for (const { connection } of rows.values()) {
    if (connection.status === "revoked" && connection.provider === provider) dismiss(connection.connection_id);
  }
}

/** Returns a name for each connection; several of one provider are numbered, the oldest one first. */
function distinct(connections) {
  const names = new Map();
  for (const { connection_id, provider, connected_at } of connections) {
    const same = connections.filter((one) => one.provider === provider);
    const place = same.filter((one) => one.connected_at < connected_at || (one.connected_at === connected_at && one.connection_id < connection_id)).length;
    names.set(connection_id, same.length > 1 ? `${nameOf(provider)} ${place + 1}` : nameOf(provider));
  }
  return names;
}

function make(id) {
  const row = $("connection").content.firstElementChild.cloneNode(true);
  rows.set(id, row);
  menu(row.querySelector(".more"), row.querySelector(".menu"));
  on(row, ".fix", () => actions.repair(row.connection));
  on(row, ".again", () => actions.repair(row.connection));
  on(row, ".end", () => ask(row.connection, nameOf(row.connection.provider), {
    done: () => {
      dismiss(id);
      return actions.refresh();
    },
    failed: actions.failed,
    closed: () => (row.isConnected ? row.querySelector(".more") : $("yours")).focus(),
  }));
  on(row, ".anew", () => actions.connect(row.connection.provider));
  on(row, ".dismiss", () => {
    dismiss(id);
    actions.refresh();
  });
  return row;
}

function on(row, selector, action) {
  row.querySelector(selector).addEventListener("click", action);
}

function describe(row) {
  const { status, name, provider, user_id, connected_at, updated_at } = row.connection;
  const synced = lastData[user_id] ? `synced ${since(lastData[user_id])}` : `added ${since(Date.parse(connected_at), STALE)}`;
  const note = {
    connected: `Connected · ${synced}`,
    needs_reauth: "Sign in again",
    revoked: reasons[user_id] === "access_revoked" ? `Disconnected at ${nameOf(provider)}` : "Disconnected",
  }[status];
  row.dataset.status = status;
  logo(row.querySelector(".icon"), provider);
  write(row, ".name", name);
  write(row, ".note", note);
  row.querySelector(".name").title = name;
  row.querySelector(".note").title = `Connected since ${date.format(new Date(connected_at))}; last change ${date.format(new Date(updated_at))}`;
  for (const [selector, label] of [[".more", `Options for ${name}`], [".fix", `Reconnect ${name}`], [".anew", `Connect ${name} again`], [".dismiss", `Dismiss ${name}`]]) {
    row.querySelector(selector).ariaLabel = label;
  }
  row.querySelector(".more").hidden = status === "revoked";
  row.querySelector(".fix").hidden = status !== "needs_reauth";
  row.querySelector(".again").hidden = status !== "connected";
  row.querySelector(".anew").hidden = row.querySelector(".dismiss").hidden = status !== "revoked";
}

function write(row, selector, text) {
  const place = row.querySelector(selector);
  if (place.textContent !== text) place.textContent = text; // an unchanged element keeps its selection
}

function since(time, uncertain = 1) {
  const minutes = Math.round((time - Date.now()) / 60_000);
  if (minutes > -uncertain) return "just now";
  if (minutes > -60) return ago.format(minutes, "minute");
  return minutes > -1440 ? ago.format(Math.round(minutes / 60), "hour") : ago.format(Math.round(minutes / 1440), "day");
}

/** A banner for what the user has to do. */
function warn(broken) {
  $("banner").hidden = broken.length === 0;
  if (broken.length === 0) return;
  const [{ provider }] = broken, name = nameOf(provider);
  $("banner-title").textContent = broken.length === 1 ? `${name} needs your attention` : `${broken.length} wearables need your attention`;
  $("banner-text").textContent = `${broken.length === 1 ? name : "Their providers"} no longer accept${broken.length === 1 ? "s" : ""} Pulse’s access, so no new data arrives. Sign in there again; your history stays.`;
  $("banner-action").hidden = broken.length > 1;
  $("banner-action").textContent = `Reconnect ${name}`;
  $("banner-action").onclick = () => actions.repair(broken[0]);
}
