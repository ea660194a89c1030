/** An attempt to connect a wearable, as `GET /sessions/{session_id}` returns it. */
export interface TerraSession {
  session_id: string;
  status: "pending" | "connected" | "needs_app" | "failed" | "expired";
  reason: string | null;
  resource: string | null;
  user_id: string | null;
  /** The `user_id` that a repair is for. */
  repairs?: string | null;
  expires_at: string;
}

/** A problem of the API (RFC 9457) with its status, or the error of `fetch` or of `getToken`. */
export interface TerraProblem {
  status?: number;
  code?: string;
  title?: string;
  detail?: string;
  message?: string;
}

export interface TerraConnectEventMap {
  "terra-session": CustomEvent<{ sessionId: string; provider: string | null; repairs?: string | null }>;
  "terra-connected": CustomEvent<{ session: TerraSession }>;
  "terra-failed": CustomEvent<{ session: TerraSession }>;
  "terra-cancelled": CustomEvent<{ sessionId: string | undefined }>;
  "terra-error": CustomEvent<{ problem: TerraProblem }>;
}

export interface TerraConnectElement extends HTMLElement {
  /** Returns the user's token; without it requests have no Authorization header. */
  getToken: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** The codes of the providers that are connected already. */
  connected: readonly string[] | undefined;
  /** Opens the login of a provider; without one the user picks it on Terra's page. Call it in the handler of a click. */
  connect(provider?: string): Promise<void>;
  /** Opens the login that repairs a connection. Call it in the handler of a click. */
  repair(userId: string, providerName?: string): Promise<void>;
  /** Waits for the end of a login that began before the page was loaded. */
  follow(sessionId: string): Promise<void>;
  /** Stops waiting, and shows the providers. */
  cancel(): void;
  /** Reads the attributes, the language and the providers again. */
  refresh(): void;
  addEventListener<Name extends keyof TerraConnectEventMap>(
    type: Name,
    listener: (event: TerraConnectEventMap[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "terra-connect": TerraConnectElement;
  }
}
