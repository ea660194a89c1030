// A back end in JavaScript: it uses Terra's SDK, and verifies webhooks with it. It writes what happened as JSON.
import { createServer } from "node:http";
import { TerraClient, TerraError, verifyTerraWebhookSignature } from "terra-api";

const [url, devId, apiKey, secret] = process.argv.slice(2);
const client = new TerraClient({ devId, apiKey, baseUrl: `${url}/api/v2` });
const webhooks = [];
let arrived = () => {};

const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  const signature = request.headers["terra-signature"];
  const isValid = (text) => verifyTerraWebhookSignature(text, signature, secret).catch(() => false);
  webhooks.push({ type: JSON.parse(body).type, valid: await isValid(body), changed: await isValid(`${body} `) });
  response.end("received");
  arrived();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const webhook = () => new Promise((resolve) => (arrived = resolve));

const settings = { webhook_url: `http://127.0.0.1:${server.address().port}/terra` };
await fetch(`${url}/_control/settings`, { method: "PATCH", body: JSON.stringify(settings) });

const started = await client.authentication.authenticateuser({ resource: "FITBIT", reference_id: "anna" });
const before = await client.user.getinfoforuserid({ user_id: started.user_id });
const connected = webhook();
await fetch(started.auth_url, { method: "POST", body: new URLSearchParams({ decision: "allow" }), redirect: "manual" });
await connected;
const after = await client.user.getinfoforuserid({ user_id: started.user_id });
const providers = await client.integrations.fetch();
const token = await client.authentication.generateauthtoken();
const disconnected = webhook();
await client.authentication.deauthenticateuser({ user_id: started.user_id });
await disconnected;
const missing = await client.user
  .getinfoforuserid({ user_id: started.user_id })
  .then(() => null, (error) => error instanceof TerraError && error.statusCode);

server.close();
console.log(
  JSON.stringify({
    authenticated: [before.is_authenticated, after.is_authenticated],
    reference_id: after.user.reference_id,
    providers: providers.providers,
    token_expires_in: token.expires_in,
    missing,
    webhooks,
  }),
);
