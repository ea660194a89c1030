// A login at a provider: it happens in a tab of its own, and this one is told how it went.

import { call } from "./api.js";

// [connect]
/** Lets the person connect a wearable of this provider, or with none named of whichever they pick. */
export async function connect(resource) {
  const tab = window.open("", "_blank"); // in the click itself: after an await it would be a pop-up, and blocked
  try {
    const session = await call("POST", "/sessions", { resource, return_to: "web" });
    send(tab, session.auth_url);
    return session;
  } catch (error) {
    tab?.close();
    throw error;
  }
}

function send(tab, url) {
  if (!tab) return location.assign(url); // blocked all the same: then this tab goes there, and comes back
  tab.opener = null; // as "noopener" does: the login page gets no hold on this one. (open() with it gives no tab to send)
  tab.location.replace(url);
}
// [/connect]

// [watch]
let watched;
/** Waits until a login is over; gives nothing if the person has begun another one. */
export async function watch(sessionId) {
  watched = sessionId;
  let pause = 1000;
  while (watched === sessionId) {
    try {
      if (!document.hidden) { // while nobody looks, nobody asks
        const session = await call("GET", `/sessions/${sessionId}`);
        if (session.status !== "pending") return session;
        pause = Math.min(pause * 1.5, 15000);
      }
    } catch (error) {
      if (!error.passes) throw error;
      pause = Math.max(pause, error.retryAfter);
    }
    await woken(pause);
  }
}

/** Waits for so long, or until the person is back in this tab, or in the app at all (connected.js tells). */
function woken(pause) {
  return new Promise((resolve) => {
    const awake = new AbortController();
    awake.signal.addEventListener("abort", resolve);
    const wake = () => awake.abort();
    setTimeout(wake, pause);
    document.addEventListener("visibilitychange", wake, { signal: awake.signal });
    tabs.addEventListener("message", wake, { signal: awake.signal });
  });
}
// [/watch]

/** The app's own tabs. */
export const tabs = new BroadcastChannel("login");

/** How it went, in words. */
export function outcome({ status, reason }, name) {
  switch (status) {
    case "connected": return `${name} is connected.`;
    case "needs_app": return "That one lives in your phone. Please connect it in our app there.";
    case "expired": return "That login was not finished. Please try again.";
    case "failed": return `${name} was not connected. ${REASONS[reason] ?? "Please try again."}`;
    default: return "One moment: we are waiting for the last word.";
  }
}

const REASONS = {
  access_denied: "You said no, and nothing has changed.",
  missing_scopes: "Please leave the permissions ticked that we need.",
  provider_error: "There is trouble on their side. Please try again later.",
};
