// The messages for the end of a login, by its status and reason in GET /sessions/{session_id}.

const TITLES = {
  connected: (name) => `${name} is connected`,
  pending: () => "Almost there",
  needs_app: (name) => `${name} is on your phone`,
  expired: (name) => `${name} was not connected`,
  failed: (name) => `${name} was not connected`,
};
const TEXTS = {
  connected: "Pulse now receives its data.",
  pending: "Waiting for confirmation …",
  needs_app: "Connect it in the Pulse app on your phone.",
  expired: "The login was not finished in time.",
};
const REASONS = {
  access_denied: "You declined access. Nothing was shared.",
  missing_scopes: "Required permissions were not granted. Try again, and keep them selected.",
  other_account: "You signed in with another account. Try again with the account that you connected.",
  provider_error: "The provider reported an error. Try again in a few minutes.",
};

/** Returns a title, a sentence, and whether the user can try again. */
export function outcome({ status, reason }, name) {
  const text = TEXTS[status] ?? REASONS[reason] ?? "The login was not completed.";
  return { title: TITLES[status](name), text, isRetryable: status === "failed" || status === "expired" };
}
