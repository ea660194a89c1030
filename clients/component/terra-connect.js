// <terra-connect>: connects a user's wearable through Terra Connections. See docs/connect-component.md.
const ENGLISH = {
	app: "This app",
	any: "Your wearable",
	search: "Search providers",
	none: "No provider matches “{name}”.",
	connect: "Connect {name}",
	another: "Connect another {name}",
	phone: "On your phone",
	needs_app: "Connect in our mobile app.",
	leaving: "You will sign in at {name}. {app} never sees your password.",
	leavingAny: "You will sign in at your provider. {app} never sees your password.",
	wait: "Continue in the {name} tab",
	waitAny: "Continue in the other tab",
	blocked: "Your browser blocked the new tab",
	offline: "Connection lost. Trying again …",
	open: "Open again",
	cancel: "Cancel",
	connected: "{name} is connected",
	done: "Done",
	not: "{name} was not connected",
	access_denied: "You declined access. Nothing was shared.",
	missing_scopes: "Some permissions are missing. Please leave them on.",
	provider_error: "{name} reported an error. Please try again later.",
	unknown: "The login was not completed.",
	expired: "The login was not finished in time.",
	retry: "Try again",
	unloaded: "The providers could not be loaded",
	refused: "This is not possible right now.",
	signIn: "Please sign in again.",
	slow: "Too many attempts. Please wait a few minutes.",
	busy: "The service did not respond. Please try again later.",
};

const sheet = new CSSStyleSheet(); // no Content-Security-Policy restricts it
sheet.replaceSync(`
:host { --accent: var(--terra-accent, light-dark(#2f5bd0, #9db7ff)); --line: var(--terra-border, color-mix(in srgb, currentcolor 18%, #0000)); display: block;
	overflow-wrap: anywhere; line-height: 1.4; color: var(--terra-text); font-family: var(--terra-font) }
:host([hidden]) { display: none }
* { box-sizing: border-box; margin: 0; font: inherit; color: inherit }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
input, .tile, .button, .card { min-height: 3rem; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: var(--terra-radius, .75rem); background: var(--terra-background, none) }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .5rem; margin-block: .75rem; padding: 0 }
.busy { height: 10rem; background: repeating-linear-gradient(var(--line) 0 3rem, #0000 0 3.5rem) }
.tile { display: flex; align-items: center; gap: .6rem; height: 100%; text-align: start } .tile, input { width: 100% } .name { flex: 1 }
button { cursor: pointer } button:hover { border-color: var(--accent) } .phone { border-style: dashed }
.text, .phone, ::placeholder { opacity: .75 } .text { font-size: .875rem } .heading, .button, .logo { font-weight: 600 }
.logo, .icon, .button { display: grid; place-items: center } .logo, .icon { position: relative; width: 2rem; aspect-ratio: 1; border-radius: 25%; background: var(--line) }
img { position: absolute; width: 100%; border-radius: inherit; background: #fff }
.card { padding: 2rem 1.25rem; text-align: center } .card .heading { font-size: 1.125rem }
.icon { width: 4.5rem; margin: 0 auto 1rem; border-radius: 50%; font-size: 1.5rem } .icon .logo { width: 2.75rem }
.actions { display: flex; justify-content: center; gap: .5rem; margin-top: 1.25rem } .button { text-decoration: none }
.ok .icon, .card:not(.wait) .button:first-child { border-color: var(--accent); background: var(--accent); color: var(--terra-accent-text, light-dark(#fff, #0b1638)) }
.tick { width: .4em; height: .75em; margin: 0 .2em .15em; border: solid; border-width: 0 .14em .14em 0; rotate: 45deg }
.wait .icon { background: none } .wait .icon::after { content: ""; position: absolute; inset: 0; border: 3px solid var(--line); border-top-color: var(--accent); border-radius: 50% }
@media (prefers-reduced-motion: no-preference) { ::after { animation: turn 1s linear infinite } } @keyframes turn { to { rotate: 1turn } }`);

/** Creates an element: "p.text" has the class and the part "text". */
function el(kind, properties, ...children) {
	const [tag, part = ""] = kind.split(".");
	const element = Object.assign(document.createElement(tag), { className: part, part }, properties);
	element.append(...children.filter(Boolean));
	return element;
}

function explain({ status }) {
	if (status === 401 || status === 403) return "signIn";
	return status === 429 ? "slow" : status < 500 ? "refused" : "busy";
}

function start(host) {
	let view; // what the card shows; without one the picker is shown
	let texts = ENGLISH, providers, loading, channel, wake;
	const icon = el("div.icon", { ariaHidden: true });
	const status = el("div.status", { role: "status", tabIndex: -1 });
	const actions = el("div.actions");
	const card = el("div", {}, icon, status, actions);
	const search = el("input.search", { type: "search", oninput: fill });
	const lists = el("div");
	const picker = el("div.picker", {}, search, lists);
	const root = host.attachShadow({ mode: "open" });
	const get = (name) => host.getAttribute(name) ?? undefined;
	const codes = () => get("providers")?.toUpperCase().match(/\w+/g);
	const language = () => /^(de|fr|es|pt|ja|ar)\b/i.exec(host.closest("[lang]")?.lang || navigator.language)?.[0].toLowerCase();
	const emit = (name, detail) => host.dispatchEvent(new CustomEvent(`terra-${name}`, { detail, bubbles: true, composed: true }));

	function named({ name, code } = {}) {
		const found = providers?.find(({ resource }) => resource === code);
		return { name: name ?? found?.name ?? code, icon_url: found?.icon_url };
	}

	function say(key, whose) {
		const { name } = named(whose);
		const text = (!name && texts[`${key}Any`]) || texts[key];
		return text.replace("{name}", () => name ?? texts.any).replace("{app}", () => get("app-name") ?? texts.app);
	}

	function logo({ name = "", icon_url }) {
		const image = icon_url && el("img", { loading: "lazy", referrerPolicy: "no-referrer", alt: "", onerror: () => image.remove(), src: icon_url });
		return el("span.logo", { ariaHidden: true }, name[0], image);
	}

	function tile(provider) {
		const { resource, name, type } = provider;
		const isConnected = host.connected?.includes(resource);
		const content = [logo(provider), el("span.name", {}, name), isConnected && el("i.tick")];
		const ariaLabel = say(isConnected ? "another" : "connect", { name });
		if (type === "sdk") return el("div.tile phone", {}, ...content);
		return el("button.tile", { type: "button", value: resource, ariaLabel, onclick: () => host.connect(resource) }, ...content);
	}

	function fill() {
		const name = search.value.trim();
		const found = providers?.filter((one) => one.name.toLowerCase().includes(name.toLowerCase()) && (codes()?.includes(one.resource) ?? true));
		const [apis, sdks] = ["api", "sdk"].map((type) => found?.filter((one) => one.type === type).map((one) => el("li", {}, tile(one))));
		search.placeholder = search.ariaLabel = say("search");
		lists.replaceChildren(
			el("p.text", { role: "status" }, found?.length === 0 && say("none", { name })),
			el(`ul.${found ? "tiles" : "busy"}`, {}, ...apis ?? []),
			...sdks?.length ? [el("p.heading", {}, say("phone")), el("p.text", {}, say("needs_app")), el("ul.tiles", {}, ...sdks)] : [],
			el("p.text", {}, say("leaving")),
		);
	}

	function show(next) {
		const isFocused = root.activeElement, last = view?.code;
		view = next;
		card.hidden = !view;
		picker.hidden = view;
		fill();
		if (view) {
			const { kind, heading, note, url, target, again, close } = view;
			card.className = card.part = `card ${kind}`;
			icon.replaceChildren(kind === "wait" ? logo(named(view)) : kind === "ok" ? el("i.tick") : "!");
			status.replaceChildren(el("p.heading", {}, say(heading, view)), el("p.text", {}, note && say(note, view)));
			actions.replaceChildren(
				url ? el("a.button", { href: url, target, rel: "noreferrer" }, say("open")) : "",
				again ? el("button.button", { type: "button", onclick: () => again() }, say("retry")) : "",
				close ? el("button.button", { type: "button", onclick: host.cancel }, say(close)) : "",
			);
		}
		if (isFocused) (view ? status : root.querySelector(`[value="${last}"]`) ?? search).focus();
	}

	/** Waits until the pause is over and the page is visible, or until a message of the page that users return to. */
	async function nap(pause, earliest) {
		let isMessage;
		do isMessage = await new Promise((resolve) => {
			wake = resolve;
			setTimeout(resolve, pause);
			document.addEventListener("visibilitychange", () => resolve(), { once: true, signal: AbortSignal.timeout(pause) });
		});
		while (host.isConnected && (Date.now() < earliest || (document.hidden && !isMessage)));
	}

	/** Calls the API; temporary errors are repeated. Throws a problem. */
	async function call(isCurrent, path, body, attempts = 3) {
		const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
		for (let attempt = 1; ; attempt++) {
			let problem, wait = 0;
			try {
				const token = await host.getToken?.();
				const headers = { "Content-Type": "application/json", "Idempotency-Key": key, ...token && { Authorization: `Bearer ${token}` } };
				const response = await fetch((get("api-url") ?? "") + path, { method: body ? "POST" : "GET", headers, body: JSON.stringify(body) });
				wait = 1000 * response.headers.get("Retry-After");
				problem = { status: response.status };
				const content = await response.json();
				if (response.ok && isCurrent()) return content;
				problem = { ...content, ...problem };
			} catch (error) {
				problem ??= { title: `${error}` };
			}
			const isFinal = attempt >= attempts || (body && wait > 9000) || (!wait && /signIn|refused/.test(explain(problem)));
			if (isFinal || !isCurrent()) throw problem;
			tell("offline");
			await nap(Math.min(1000 * attempt, 15000), Date.now() + wait);
		}
	}

	function tell(key) {
		if (view?.id) status.lastChild.textContent = say(key, view);
	}

	function fail(problem, next) {
		show({ ...next, kind: "bad", note: explain(problem) });
		emit("error", { problem });
	}

	async function load() {
		const mine = (loading = {});
		const isCurrent = () => mine === loading && host.isConnected;
		await new Promise((resolve) => setTimeout(resolve)); // a page sets getToken after its imports
		if (!isCurrent()) return;
		const file = language() && await import(`./languages/${language()}.js`).catch(() => {});
		texts = { ...ENGLISH, ...file?.default };
		card.dir = picker.dir = language() === "ar" ? "rtl" : "ltr";
		show(view?.heading === "unloaded" ? undefined : view);
		try {
			({ providers } = await call(isCurrent, "/providers"));
			show(view);
		} catch (problem) {
			if (isCurrent() && !view) fail(problem, { heading: "unloaded", again: load });
		}
	}

	async function run(attempt, body) {
		if (view?.kind === "wait" && !view.id) return; // a double click
		const tab = body && open("", "_blank"); // after an await browsers block it
		const mine = { ...attempt, kind: "wait", heading: "wait", note: "leaving", close: body ? "" : "cancel", again: 0 };
		const isCurrent = () => mine === view && host.isConnected;
		const done = { close: "cancel", url: "", again: () => mine.user_id ? host.repair(mine.user_id, mine.name) : host.connect(mine.code) };
		show(mine);
		card.scrollIntoView({ block: "nearest" });
		try {
			if (body) {
				const session = await call(isCurrent, "/sessions", { ...body, return_to: get("return-to"), language: language() ?? "en" });
				if (!/^(https:|http:\/\/(localhost|127\.0\.0\.1)(:\d+)?\/)/.test(session.auth_url)) throw { status: 400, code: "unsafe_auth_url" };
				if (tab) {
					tab.opener = null;
					tab.location.replace(session.auth_url);
				}
				Object.assign(mine, { id: session.session_id, url: session.auth_url, close: "cancel" }, tab ? { target: "_blank" } : { heading: "blocked" });
				show(mine);
				emit("session", { sessionId: mine.id, provider: session.resource, repairs: session.repairs });
			}
			for (let pause = 1000; ; pause = Math.min(pause * 1.5, 15000)) {
				const session = await call(isCurrent, `/sessions/${encodeURIComponent(mine.id)}`, undefined, Infinity);
				const { status, reason, resource, repairs } = session;
				mine.code = resource ?? mine.code;
				mine.user_id ??= repairs;
				tell("leaving");
				if (status === "connected") {
					show({ ...mine, kind: "ok", heading: status, note: "", url: "", close: "done" });
					return emit(status, { session });
				}
				if (status !== "pending") {
					show({ ...mine, ...done, kind: "bad", heading: "not", note: texts[status] ? status : texts[reason] ? reason : "unknown" });
					return emit("failed", { session });
				}
				await nap(pause);
			}
		} catch (problem) {
			if (!mine.id) tab?.close();
			if (isCurrent()) fail(problem, { ...mine, ...done, heading: "not" });
		}
	}

	root.adoptedStyleSheets = [sheet];
	root.append(card, picker);
	for (const [name, changed] of [["getToken", load], ["connected", fill]]) {
		let value = host[name]; // a page may set it before this module is loaded
		const set = (next) => `${value}` === `${(value = next)}` || changed();
		Object.defineProperty(host, name, { get: () => value, set });
	}
	Object.assign(host, {
		connect: (code) => void run({ code }, code ? { resource: code } : { resources: codes() }),
		repair: (user_id, name) => void run({ user_id, name }, { user_id }),
		follow: (id) => void run({ id }),
		cancel() {
			if (view?.kind === "wait") emit("cancelled", { sessionId: view.id });
			show();
		},
	});
	return {
		load,
		enter() {
			channel = new BroadcastChannel("terra-connect");
			channel.onmessage = ({ data }) => {
				if (data === "here") return;
				channel.postMessage("here"); // the return page may close itself
				wake?.(true);
			};
			if (view?.id) run(view);
			load();
		},
		leave: () => channel.close(),
	};
}

customElements.define("terra-connect", class extends HTMLElement {
	static observedAttributes = ["api-url", "app-name", "lang", "providers"];
	#life = start(this);
	connectedCallback() { this.#life.enter(); }
	disconnectedCallback() { this.#life.leave(); }
	attributeChangedCallback() { this.#life.load(); }
});
