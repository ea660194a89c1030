// A login at a provider: it runs in a separate tab, and this one polls for the result.

import { call } from "./api.js";

// [connect]
/** Starts a login for this provider; without one, the user picks on Terra's page. */
export async function connect(resource) {
  const tab = window.open("", "_blank"); // in the click itself: browsers block a tab opened after an await as a pop-up
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
  if (!tab) return location.assign(url); // still blocked: this tab opens the login instead
  tab.opener = null; // like "noopener", with which open() would return no tab
  tab.location.replace(url);
}
// [/connect]

// [watch]
let watched;
/** Waits for the end of a login; returns nothing if the user has started another one. */
export async function watch(sessionId) {
  watched = sessionId;
  let pause = 1000;
  while (watched === sessionId) {
    try {
      if (!document.hidden) { // a hidden page does not poll
        const session = await call("GET", `/sessions/${sessionId}`);
        if (session.status !== "pending") return session;
        pause = Math.min(pause * 1.5, 15000);
      }
    } catch (error) {
      if (!error.isTemporary) throw error;
      pause = Math.max(pause, error.retryAfter);
    }
    await delay(pause);
  }
}

/** Waits for a time, or until the user returns to this tab, or to the app in another one (see connected.js). */
function delay(pause) {
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

/** The message for a session's status. */
export function outcome({ status, reason }, name) {
  switch (status) {
    case "connected": return `${name} is connected.`;
    case "needs_app": return `${name} can only be connected in our mobile app.`;
    case "expired": return "The login was not finished in time. Please try again.";
    case "failed": return `${name} was not connected. ${REASONS[reason] ?? "Please try again."}`;
    default: return "Waiting for confirmation …";
  }
}

const REASONS = {
  access_denied: "You declined access. Nothing was shared.",
  missing_scopes: "Required permissions were not granted. Please try again and keep them selected.",
  provider_error: "The provider reported an error. Please try again later.",
};
