// docs/connect-component.md
const ENGLISH = {
	any: "Your provider",
	search: "Search",
	none: "No provider matches {name}.",
	connect: "Connect {name}",
	another: "Connect another {name}",
	phone: "On your phone",
	needs_app: "Connect in our mobile app.",
	leaving: "You will sign in at {name}. {app} never sees your password.",
	leavingAny: "You will sign in at your provider. {app} never sees your password.",
	wait: "Continue in the {name} tab",
	waitAny: "Continue in the other tab",
	blocked: "The new tab was blocked",
	open: "Open again",
	cancel: "Cancel",
	connected: "{name} is connected",
	done: "Done",
	not: "{name} was not connected",
	access_denied: "You declined access. Nothing was shared.",
	missing_scopes: "Please allow all permissions.",
	provider_error: "{name} reported an error.",
	unknown: "The login was not completed.",
	other_account: "That was another account.",
	expired: "The login took too long.",
	retry: "Try again",
	unloaded: "Loading failed",
	signIn: "Please sign in again.",
	later: "Please try again later.",
};

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host{display:block;overflow-wrap:anywhere;color:var(--terra-text);font-family:var(--terra-font);
--accent:var(--terra-accent,light-dark(#25c,#9bf));--line:light-dark(#0003,#fff3)}
:host([hidden]){display:none}
*{box-sizing:border-box;margin:0;font:inherit;color:inherit}
input,.tile,.button,.card{padding:.7rem;border:1px solid var(--line);border-radius:var(--terra-radius,.75rem);background:var(--terra-background,none)}
.tiles{display:grid;grid:auto/repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem}
.lists{display:grid;gap:.75rem}
.busy{height:12rem;background:repeating-linear-gradient(var(--line) 0 3.5rem,#0000 0 4rem)}
.tile{display:flex;align-items:center;gap:.6rem;text-align:start}
input{width:100%}
.name{flex:1}
button:hover{border-color:var(--accent);cursor:pointer}
.text{opacity:.75;font-size:.9rem}
.heading,.button{font-weight:600;text-decoration:none}
.logo,.icon{display:grid;place-items:center;position:relative;width:2rem;aspect-ratio:1;border-radius:25%;overflow:hidden;background:var(--line)}
img{position:absolute;width:100%;background:#fff}
.card{padding:2rem 1rem;text-align:center}
.icon{width:4.5rem;margin:0 auto 1rem;border-radius:50%;font-size:1.5rem}
.icon .logo{width:60%}
.actions{display:flex;justify-content:center;gap:.5rem;margin-top:1.25rem}
.ok .icon,.card:not(.wait) .button:first-child{background:var(--accent);color:var(--terra-accent-text,Canvas)}
.wait .icon{background:none}
.wait .icon::after{content:"";position:absolute;inset:0;border:3px solid var(--line);border-top-color:var(--accent);border-radius:50%}
@media(prefers-reduced-motion:no-preference){::after{animation:turn 1s linear infinite}}
@keyframes turn{to{rotate:1turn}}`);

function el(kind, nodes, props) {
	const [tag, part = ""] = kind.split(".");
	const node = Object.assign(document.createElement(tag), {className: part, part}, props);
	node.append(...[nodes].flat().filter(Boolean));
	return node;
}

const why = ({status}) => /401|403/.test(status) ? "signIn" : "later";

function start(host) {
	let job, providers, timer, channel, wake, texts = ENGLISH, lang = "en";
	const search = el("input.search", "", {type: "search", oninput: fill}),
		lists = el("div.lists"), box = el("div", "", {tabIndex: -1}), root = host.attachShadow({mode: "open"}),
		attr = name => host.getAttribute(name), codes = () => attr("providers")?.match(/\w+/g),
		find = (code, name = code) => providers?.find(({resource}) => resource === code) ?? {name},
		button = (key, onclick) => el("button.button", say(key), {onclick}),
		emit = (name, detail) => host.dispatchEvent(new CustomEvent("terra-" + name, {detail, bubbles: true, composed: true})),
		say = (key, name) => (texts[name ? key : key + "Any"] ?? texts[key])
			.replace("{app}", attr("app-name") ?? location.host).replace("{name}", () => name ?? texts.any),
		logo = ({name, icon_url: src}) => el("span.logo", [name?.[0], src && el("img", "",
			{loading: "lazy", referrerPolicy: "no-referrer", onerror: e => e.target.remove(), src})], {ariaHidden: true}),
		card = (kind, mark, title, text, {name}, ...buttons) => show("status", "card " + kind, el("div.icon", mark),
			el("p.heading", say(title, name)), el("p.text", text && say(text, name)), el("div.actions", buttons));

	function show(role, part, ...nodes) {
		const active = root.activeElement;
		Object.assign(box, {role, part, className: part}).replaceChildren(...nodes);
		if (active) box.focus();
	}

	function home() {
		job = 0;
		show("group", "picker", search, lists);
	}

	function refresh() {
		clearTimeout(timer);
		timer = setTimeout(load);
	}

	function tile(item) {
		const {resource, name} = item, ticked = host.connected?.includes(resource),
			ariaLabel = say(ticked ? "another" : "connect", name), onclick = () => run(item, {resource});
		return el("button.tile", [logo(item), el("span.name", name), ticked && "✓"], {ariaLabel, onclick});
	}

	function fill() {
		const query = search.value.trim().toLowerCase();
		search.placeholder = search.ariaLabel = say("search");
		if (!providers) return lists.replaceChildren(el("div.busy"));
		const found = providers.filter(({name, resource}) => name.toLowerCase().includes(query) && (codes() ?? resource).includes(resource)),
			of = type => found.filter(i => i.type === type),
			names = of("sdk").map(item => item.name).join(", ");
		lists.replaceChildren(
			el("p.text", !found[0] && say("none", query), {role: "status"}),
			el("div.tiles", of("api").map(tile)),
			el("p.text", say("leaving")),
			el("p.heading", names && say("phone")),
			el("p.text", names && `${names}. ${say("needs_app")}`),
		);
	}

	async function call(path, body) {
		const token = await host.getToken?.();
		const response = await fetch((attr("api-url") ?? "") + path, {
			method: body && "POST",
			body: JSON.stringify(body),
			headers: {"Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID(), ...(token && {Authorization: "Bearer " + token})},
		});
		const content = await response.json().catch(() => {});
		if (response.ok) return content;
		throw {...content, status: response.status, wait: 1e3 * response.headers.get("Retry-After")};
	}

	async function load() {
		const mine = timer;
		try {
			lang = /^(de|fr|es|pt|ja|ar)\b/.exec(host.closest("[lang]")?.lang || navigator.language)?.[0] ?? "en";
			texts = lang === "en" ? ENGLISH : (await import(`./languages/${lang}.js`)).default;
			box.dir = lang === "ar" ? "rtl" : "ltr";
			job || providers || home();
			fill();
			({providers} = await call("/providers"));
			fill();
		} catch (error) {
			if (mine !== timer || job || providers) return;
			card("bad", "!", "unloaded", why(error), {}, button("retry", load));
			emit("error", {problem: error});
		}
	}

	async function run(item, body, id) {
		if (job && !job.id) return;
		const mine = job = {id},
			over = () => mine !== job || !host.isConnected,
			tab = body && open(),
			cancel = button("cancel", host.cancel),
			wait = (title, ...buttons) => card("wait", logo(item), title, "leaving", item, ...buttons);

		function end(reason, event, detail) {
			job = 0;
			if (reason === event) card("ok", "✓", reason, "", item, button("done", home));
			else card("bad", "!", "not", reason, item, button("retry", () => run(item, body ?? {})), cancel);
			emit(event, detail);
		}

		wait("wait", id && cancel);
		box.scrollIntoView({block: "nearest"});
		try {
			if (body) {
				const {session_id: sessionId, auth_url: href, resource: provider, repairs} = await call("/sessions", {...body, return_to: attr("return-to"), language: lang});
				if (over() || !/^https:|^http:..(localhost|127\.0\.0\.1)(:\d+)?\//.test(href)) throw {code: "unsafe_url"};
				if (tab) tab.opener = null, tab.location.replace(href);
				job.id = sessionId;
				wake ??= isNaN;
				wait(tab ? "wait" : "blocked", el("a.button", say("open"), {href, target: tab ? "_blank" : ""}), cancel);
				emit("session", {sessionId, provider, repairs});
			}
			for (let pause = 1e3, due = 0, woken; !over(); pause = Math.min(pause * 1.5, 15e3)) {
				const session = !(Date.now() < due) && (woken || !document.hidden) && (await call("/sessions/" + encodeURIComponent(mine.id)).catch(e => {
					if (e.status < 500 && e.status !== 429) throw e;
					due = Date.now() + e.wait;
				}));
				if (session && session.status !== "pending" && !over()) {
					const {status, reason, repairs, resource} = session;
					body ??= repairs ? {user_id: repairs} : {resource};
					item = find(resource, item.name);
					return end([status, reason, "unknown"].find(key => texts[key]), status === "connected" ? status : "failed", {session});
				}
				woken = await new Promise(resolve => {
					setTimeout(wake = resolve, pause);
					document.addEventListener("visibilitychange", () => resolve(), {once: true});
				});
			}
		} catch (error) {
			if (!mine.id) tab?.close();
			if (!over()) end(why(error), "error", {problem: error});
		}
	}

	root.adoptedStyleSheets = [sheet];
	root.append(box);
	for (const [name, changed] of [["getToken", refresh], ["connected", fill]]) {
		let value = host[name];
		Object.defineProperty(host, name, {get: () => value, set: next => `${value}` === `${(value = next)}` || changed()});
	}
	Object.assign(host, {
		connect: code => run(find(code), code ? {resource: code} : {resources: codes()}),
		repair: (user_id, name) => run({name}, {user_id}),
		follow: id => run({}, null, id),
		cancel() {
			if (job) emit("cancelled", {sessionId: job.id});
			home();
		},
		refresh,
		enter() {
			channel = new BroadcastChannel("terra-connect");
			channel.onmessage = ({data}) => data === "here" || wake?.(!channel.postMessage("here"));
			if (job?.id) host.follow(job.id);
			refresh();
		},
		leave: () => channel.close(),
	});
}

customElements.define("terra-connect", class extends HTMLElement {
	#life = start(this);
	connectedCallback() {this.enter();}
	disconnectedCallback() {this.leave();}
});
