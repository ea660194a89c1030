import { connectionEventTypeValues, dataEventTypeValues, type Event } from "./schema.js";

/** The header of a request to NotifyUrl that has the key of the stack. */
export const KEY_HEADER = "X-Terra-Connections-Key";
const TYPES: ReadonlySet<unknown> = new Set([...connectionEventTypeValues, ...dataEventTypeValues]);

/** A request to NotifyUrl does not have the key of the stack: respond with 401. */
export class InvalidNotification extends Error {
  override readonly name = "InvalidNotification";
}

/**
 * Return an event from the event bus: that of a Lambda function, the body of an SQS message or of a request.
 * Undefined if this version of the client does not know its type: ignore such an event.
 *
 * @throws {SyntaxError | TypeError} it is not an event
 */
export function readEvent(event: string | object): Event | undefined {
  const read: unknown = typeof event === "string" ? JSON.parse(event) : event;
  if (!isEnvelope(read)) {
    throw new TypeError("not an event of EventBridge: detail-type and detail are missing");
  }
  return TYPES.has(read["detail-type"]) ? (read as unknown as Event) : undefined;
}

/**
 * Verify a request to NotifyUrl, and return its event as `readEvent` does.
 *
 * @param headers the headers of the request: those of fetch or of Node.js
 * @param body the body as it was received
 * @param keys the key of the stack; the old and the new one while it is rotated
 * @throws {InvalidNotification} the request does not have one of the keys
 */
export function readNotification(
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>,
  body: string | Uint8Array,
  keys: string | readonly string[],
): Event | undefined {
  const given = encode(headerOf(headers));
  // In constant time for each key. An empty key, such as an unset variable, is never accepted.
  const accepted = (typeof keys === "string" ? [keys] : keys).filter((key) => key !== "");
  if (!accepted.some((key) => isEqual(given, encode(key)))) {
    throw new InvalidNotification(`the header ${KEY_HEADER} is missing or wrong`);
  }
  return readEvent(typeof body === "string" ? body : new TextDecoder().decode(body));
}

function isEnvelope(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const { detail, "detail-type": type } = value as Record<string, unknown>;
  return typeof detail === "object" && detail !== null && type !== undefined;
}

function headerOf(headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>): string {
  if (headers instanceof Headers) {
    return headers.get(KEY_HEADER) ?? "";
  }
  const name = Object.keys(headers).find((each) => each.toLowerCase() === KEY_HEADER.toLowerCase());
  const value = name === undefined ? undefined : headers[name];
  return typeof value === "string" ? value : (value?.[0] ?? "");
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function isEqual(given: Uint8Array, key: Uint8Array): boolean {
  let difference = given.length ^ key.length;
  for (let index = 0; index < key.length; index += 1) {
    difference |= (given[index] ?? 0) ^ (key[index] ?? 0);
  }
  return difference === 0;
}
