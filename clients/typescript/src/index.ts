export { TerraConnections, type ClientOptions } from "./client.js";
export { TerraConnectionsError } from "./errors.js";
export { InvalidNotification, KEY_HEADER, readEvent, readNotification } from "./events.js";
export type {
  Backfill,
  Connection,
  ConnectionChanged,
  ConnectionEvent,
  ConnectionEventType,
  ConnectionList,
  CreatedSession,
  DataEvent,
  DataEventType,
  DataReceived,
  Event,
  Explanation,
  MobileToken,
  NewBackfill,
  NewReplay,
  NewSession,
  Problem,
  ProblemCode,
  Provider,
  Replay,
  Session,
} from "./schema.js";
