// Calls the TypeScript client: reads a request as a line of JSON, and writes the result or the error as a line.
import { createInterface } from "node:readline";

const client = await import(process.argv[2]);

async function resultOf({ url, options, method, given }) {
  if (method === "readNotification") {
    return client.readNotification(...given) ?? null;
  }
  const result = new client.TerraConnections(url, options)[method](...given);
  if (Symbol.asyncIterator in result) {
    return await Array.fromAsync(result);
  }
  return (await result) ?? null;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { result: await resultOf(JSON.parse(line)) };
  } catch (error) {
    const { name, message, status, code, retryAfter, requestId, problem } = error;
    answer = { error: { name, message, status, code, retry_after: retryAfter, request_id: requestId, problem } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
