// The user's health data: the latest deliveries, the steps and sleep of each day, from the app's back end, and past data
// that the user requests.

import { account, call, callBackEnd } from "./api.js";
import { setLastData } from "./connections.js";
import { nameOf } from "./providers.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320, HEIGHT = 80;
const steps = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
let shown;

const hours = (minutes) => `${Math.floor(minutes / 60)} h ${Math.round(minutes % 60)} min`;
const MEASURES = {
  steps: { name: "Steps", write: (value) => steps.format(value) },
  sleep: { name: "Sleep", write: hours },
};
const valueOf = { steps: (day) => day.steps, sleep: (day) => day.sleep_minutes };

async function refresh() {
  if (document.hidden || !account.name) return;
  const { last_data: lastData, ...data } = await callBackEnd("data.json");
  setLastData(lastData);
  const text = JSON.stringify([data, data.connections.map(({ provider }) => nameOf(provider))]);
  if (text === shown) return; // so that an opened table stays so
  shown = text;
  $("charts").replaceChildren(...data.connections.map(chart));
  $("deliveries").replaceChildren(...data.deliveries.map(delivery));
  $("latest").hidden = data.deliveries.length === 0;
  $("no-data").hidden = data.connections.length + data.deliveries.length > 0;
}

/** A connection: a bar for each day, the latest value as text, and all values in a table. */
function chart({ provider, days }) {
  const article = $("days").content.firstElementChild.cloneNode(true);
  article.querySelector(".provider").textContent = nameOf(provider);
  for (const [measure, { name, write }] of Object.entries(MEASURES)) {
    const figure = article.querySelector(`.${measure}`);
    const latest = days.findLast((day) => valueOf[measure](day) !== undefined);
    figure.hidden = !latest;
    if (!latest) continue;
    const value = Object.assign(document.createElement("strong"), { textContent: write(valueOf[measure](latest)) });
    figure.querySelector("figcaption").append(`${name}: `, value, ` on ${onDay(latest.day)}`);
    figure.append(bars(days.map((day) => valueOf[measure](day) ?? 0), `${name} of the last ${days.length} days`));
  }
  article.querySelector("tbody").append(...days.map(row));
  return article;
}

function bars(values, label) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  const most = Math.max(...values, 1), step = WIDTH / Math.max(values.length, 7);
  for (const [place, value] of values.entries()) {
    const height = (value / most) * (HEIGHT - 4);
    svg.append(element("rect", { x: place * step + 1, y: HEIGHT - 1 - height, width: step - 2, height, rx: 2 }));
  }
  svg.append(element("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
  return svg;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

function row(day) {
  const made = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: onDay(day.day) });
  const cells = Object.entries(MEASURES).map(([measure, { write }]) => {
    const value = valueOf[measure](day);
    return Object.assign(document.createElement("td"), { textContent: value === undefined ? "" : write(value) });
  });
  made.append(head, ...cells);
  return made;
}

function delivery({ type, provider, position, records, first_day: first, last_day: last }) {
  const made = $("delivery").content.firstElementChild.cloneNode(true);
  const of = first ? ` of ${onDay(first)}${last !== first ? ` to ${onDay(last)}` : ""}` : "";
  made.querySelector(".what").textContent = `${provider ? nameOf(provider) : ""} ${type}`.trim();
  made.querySelector(".note").textContent = `${records} record${records === 1 ? "" : "s"}${of}, ${time.format(position)}`;
  return made;
}

/** Past data: a line for each type of each connection, until all of them are there. */
$("load-past").addEventListener("click", async () => {
  const from = new Date(Date.now() - 30 * 86_400_000).toISOString().slice(0, 10);
  try {
    localStorage.setItem("backfill", (await call("POST", "/backfills", { from })).backfill_id);
    $("past-problem").textContent = "";
    await refreshPast();
  } catch (error) {
    $("past-problem").textContent = error.message;
  }
});

async function refreshPast() {
  const id = localStorage.getItem("backfill");
  if (document.hidden || !account.name || !id || id === finished) return;
  const { status, connections } = await call("GET", `/backfills/${id}`);
  if (status === "finished") finished = id;
  $("past").replaceChildren(...connections.flatMap(({ provider, types }) => types.map((type) => progress(provider, type))));
}
let finished;

function progress(provider, { type, state, received, expected, reason }) {
  const made = $("delivery").content.firstElementChild.cloneNode(true);
  made.querySelector(".what").textContent = `${nameOf(provider)} ${type}`;
  made.querySelector(".note").textContent = `${state}${reason ? ` (${reason})` : ""}, ${received} of ${expected ?? "?"}`;
  return made;
}

const onDay = (day) => date.format(new Date(day));

async function poll() {
  await refresh().catch(console.warn);
  await refreshPast().catch(console.warn);
  setTimeout(poll, 3000);
}
poll();
