// The timeline beside the app: the stack's requests, webhooks and items, which only a local stack exposes.

const $ = (id) => document.getElementById(id);
const { terra } = await (await fetch("config.json")).json();
const known = new Map();
const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const LANES = { app: "App", browser: "Browser", API: "Terra Connections", Terra: "Terra" };
$("console").href = terra;
const STATUS = { needs_reauth: "needs reauth", needs_app: "needs app" };

async function refresh() {
  const referenceId = localStorage.getItem("account");
  if (document.hidden || !referenceId) return;
  $("console").href = `${terra}/?${new URLSearchParams({ reference_id: referenceId })}`;
  const response = await fetch(`timeline.json?${new URLSearchParams({ reference_id: referenceId })}`);
  if (!response.ok) throw new Error(`the timeline cannot be loaded: ${response.status}`);
  const { events, items } = await response.json();
  showEvents(events);
  showItems(items);
}

/** Shows the latest login from its start, and the earlier events below it. */
function showEvents(events) {
  const begun = Math.max(...events.filter(({ title }) => title === "POST /sessions").map(({ started }) => started));
  const isLatest = ({ started }) => !(started < begun);
  const latest = events.filter(isLatest), earlier = events.filter((event) => !isLatest(event));
  const from = Math.min(...latest.map(({ started }) => started));
  $("steps").hidden = events.length > 0;
  $("lanes").hidden = events.length === 0;
  fill("events", latest.map((event) => entry(event, from)));
  $("earlier").hidden = earlier.length === 0;
  $("earlier-count").textContent = `Before this login (${earlier.length})`;
  fill("earlier-events", earlier.map((event) => entry(event)));
}

function entry({ key, way, started, finished, title, result, explanation, detail, curl, delivery_id: delivery }, from) {
  const row = known.get(key) ?? make(key);
  const [sender, receiver] = way.split(" → ");
  row.dataset.way = way;
  row.dataset.half = way.includes("Terra") ? "terra" : "app";
  row.dataset.direction = { "app → API": "on", "browser → API": "on", "API → Terra": "on" }[way] ?? "back";
  row.dataset.result = kindOf(result, finished);
  row.curl = curl;
  row.querySelector(".copy").hidden = !curl;
  row.querySelector(".copy").ariaLabel = `Copy ${title} as curl`;
  row.querySelector(".replay").hidden = !delivery;
  row.querySelector(".replay").ariaLabel = `Open ${title} in the console`;
  row.querySelector(".replay").href = `${terra}/?${new URLSearchParams({ open: delivery })}`;
  write(row, {
    sender: LANES[sender],
    receiver: LANES[receiver],
    past: past(started, finished, from),
    title,
    result,
    explanation,
    detail: JSON.stringify(detail, null, 2),
  });
  return row;
}

function make(key) {
  const row = $("event").content.firstElementChild.cloneNode(true);
  known.set(key, row);
  const copy = row.querySelector(".copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(row.curl);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy as curl"; }, 2000);
  });
  return row;
}

/** Returns when a request finished, and how long it took. */
function past(started, finished, from) {
  if (finished === null) return "open";
  const at = from === undefined ? time.format(finished) : `+${((finished - from) / 1000).toFixed(2)} s`;
  return finished > started ? `${at} · ${finished - started} ms` : at;
}

function kindOf(result, finished) {
  if (finished === null) return "open";
  return { 2: "good", 3: "good", 4: "refused", 5: "bad" }[result[0]] ?? "bad";
}

function showItems(items) {
  for (const [table, found] of Object.entries(items)) {
    const rows = found.map(({ key, kind, provider, status, item }) => {
      const row = known.get(table + key) ?? $("item").content.firstElementChild.cloneNode(true);
      known.set(table + key, row);
      row.dataset.status = status;
      const name = `${kind} · ${provider ?? "any provider"}`;
      write(row, { name, status: STATUS[status] ?? status, gist: gist(key, item), detail: JSON.stringify(item, null, 2) });
      return row;
    });
    fill(table, rows);
    $(`${table}-none`).hidden = rows.length > 0;
  }
}

function gist(key, { facts }) {
  return facts ? `${key} · ${Object.keys(facts).join(", ")}` : key;
}

// Neither touches unchanged elements, so opened, selected and focused ones stay so.

function fill(list, rows) {
  const { children } = $(list);
  if (children.length !== rows.length || rows.some((row, place) => children[place] !== row)) $(list).replaceChildren(...rows);
}

function write(row, texts) {
  for (const [part, text] of Object.entries(texts)) {
    const place = row.querySelector(`.${part}`);
    if (place.textContent !== text) place.textContent = text;
  }
}

async function poll() {
  await refresh().catch(console.warn);
  setTimeout(poll, 1000);
}
poll();
