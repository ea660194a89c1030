"""What a competent team would write in an afternoon: FastAPI, Mangum, Terra's own SDK and boto3's resources.

It does the same job for the same events, with the same guarantees where those are easy to give: signatures are
verified, a delivery counts once, a redirect's state is compared, users return to the app.
"""

import hashlib
import hmac
import json
import os
import time
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from mangum import Mangum
from pydantic import BaseModel
from terra import Terra
from terra.utils.verify_signature import WebhookVerificationError, verify_terra_webhook_signature

app = FastAPI()
dynamodb = boto3.resource("dynamodb")
secrets = boto3.client("secretsmanager")
connections = dynamodb.Table(os.environ["PEER_CONNECTIONS"])
sessions = dynamodb.Table(os.environ["PEER_SESSIONS"])
deliveries = dynamodb.Table(os.environ["PEER_DELIVERIES"])


@cache
def secret(arn: str) -> dict[str, str]:
    """Read a secret, once per process."""
    values: dict[str, str] = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    return values


@cache
def terra() -> Terra:
    """Return Terra's client."""
    return Terra(
        dev_id=os.environ["TERRA_DEV_ID"],
        api_key=secret(os.environ["TERRA_SECRET_ARN"])["api_key"],
        base_url=os.environ["TERRA_API_URL"],
    )


class NewSession(BaseModel):
    """The body of POST /sessions."""

    reference_id: str
    resource: str


@app.post("/webhooks/terra")
async def webhook(request: Request) -> dict[str, str]:
    """Verify the signature, store the delivery, update the connection."""
    body = (await request.body()).decode()
    for value in secret(os.environ["SIGNING_SECRETS_ARN"]).values():
        try:
            if verify_terra_webhook_signature(body, request.headers.get("x-terra-signature", ""), value):
                break
        except WebhookVerificationError:
            continue
    else:
        raise HTTPException(401)
    event = json.loads(body)
    try:
        deliveries.put_item(
            Item={
                "delivery_id": request.headers.get("x-terra-trace-id", str(uuid4())),
                "type": event["type"],
                "ttl": int(time.time()) + 90_000,
            },
            ConditionExpression="attribute_not_exists(delivery_id)",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return {"status": "duplicate"}
        raise
    if event["type"] == "auth":
        user = event["user"]
        connections.put_item(
            Item={
                "user_id": user["user_id"],
                "reference_id": user["reference_id"],
                "provider": user["provider"],
                "scopes": user["scopes"],
                "status": "connected",
            }
        )
    return {"status": "accepted"}


@app.get("/auth/success")
def success(session: str, state: str) -> Any:  # noqa: ANN401 - FastAPI's responses
    """Send the user back."""
    item = found(session, state)
    connected = connections.get_item(Key={"user_id": item["user_id"]}, ConsistentRead=True).get("Item")
    return page("connected" if connected else "pending", item)


@app.get("/auth/failure")
def failure(session: str, state: str, reason: str = "unknown") -> Any:  # noqa: ANN401 - as above
    """Mark the session failed, and send the user back."""
    item = found(session, state)
    sessions.update_item(
        Key={"session_id": session},
        UpdateExpression="SET #reason = :reason",
        ExpressionAttributeNames={"#reason": "reason"},
        ExpressionAttributeValues={":reason": reason},
    )
    return page("failed", item)


@app.post("/sessions", status_code=201)
def create_session(new: NewSession) -> dict[str, str]:
    """Request a login link from Terra."""
    session_id, state = uuid4().hex, uuid4().hex + uuid4().hex
    base = f"{os.environ['PUBLIC_BASE_URL']}/auth"
    query = f"session={session_id}&state={state}"
    login = terra().authentication.authenticateuser(
        resource=new.resource,
        reference_id=new.reference_id,
        auth_success_redirect_url=f"{base}/success?{query}",
        auth_failure_redirect_url=f"{base}/failure?{query}",
    )
    sessions.put_item(
        Item={
            "session_id": session_id,
            "reference_id": new.reference_id,
            "created_at": int(time.time() * 1000),
            "user_id": login.user_id,
            "state_hash": hashlib.sha256(state.encode()).hexdigest(),
            "ttl": int(time.time()) + 604_800,
        }
    )
    return {"session_id": session_id, "auth_url": login.auth_url or ""}


@app.get("/connections")
def list_connections(reference_id: str) -> dict[str, Any]:
    """Return a user's connections."""
    answer = connections.query(IndexName="by-reference-id", KeyConditionExpression=Key("reference_id").eq(reference_id))
    return {"connections": answer["Items"]}


def found(session_id: str, state: str) -> dict[str, Any]:
    """Return a session whose state equals the redirect's."""
    item = sessions.get_item(Key={"session_id": session_id}, ConsistentRead=True).get("Item")
    hashed = hashlib.sha256(state.encode()).hexdigest()
    if not item or not hmac.compare_digest(str(item["state_hash"]), hashed):
        raise HTTPException(400)
    return dict(item)


def page(status: str, item: dict[str, Any]) -> Any:  # noqa: ANN401 - FastAPI's responses
    """Return the user's redirect or page."""
    if item.get("return_to"):
        return RedirectResponse(f"{item['return_to']}?status={status}", 303)
    return HTMLResponse(f"<!doctype html><title>{status}</title><h1>{status}</h1>")


lambda_handler = Mangum(app, lifespan="off")
