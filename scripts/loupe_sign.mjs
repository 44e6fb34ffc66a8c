// Signs requests to Loupe's API for pipelines. For Node 18 or newer, no dependencies; to be copied.
//
//   import { headersFor } from "./loupe_sign.mjs";
//   const url = new URL("/api/analyses:claim", LOUPE_URL);
//   const body = JSON.stringify({ worker_id: "worker-1" });
//   const request = { method: "POST", target: url.pathname + url.search, body };
//   const headers = { "Content-Type": "application/json", ...headersFor(request, { secret }) };
//   await fetch(url, { method: request.method, headers, body });
//
// Sign each attempt anew, and send the very body that was signed: a string (as UTF-8) or bytes, not an object.
// As a command it reads requests from standard input, one JSON object a line, and writes each as it is signed.

import { createHash, createHmac, randomBytes } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const now = () => String(Math.floor(Date.now() / 1000));

export const newNonce = () => randomBytes(16).toString("base64url");

const hmac = (secret, message) => createHmac("sha256", secret).update(message).digest("hex");

/** The timestamp, a full stop, and the body, as bytes. */
export function plainStringToSign({ timestamp, body = "" }) {
  return Buffer.concat([Buffer.from(`${timestamp}.`), Buffer.from(body)]);
}

/** Seven lines, with no line break at the end. `target` is path and query as sent. */
export function v2StringToSign({ method, target, keyId = "default", timestamp, nonce, body = "" }) {
  const digest = createHash("sha256").update(body).digest("hex");
  return ["mlv2", method, target, keyId, timestamp, nonce, digest].join("\n");
}

/** The value of X-ML-Signature. The key of the HMAC is the UTF-8 bytes of the secret as it is written. */
export const signPlain = (secret, request) => `sha256=${hmac(secret, plainStringToSign(request))}`;

export const signV2 = (secret, request) => `v2=${hmac(secret, v2StringToSign(request))}`;

/** The headers that prove a request; time and nonce are made here unless they are given. */
export function headersFor(request, { secret, keyId = "default", scheme = "v2" }) {
  const signed = { timestamp: now(), nonce: newNonce(), keyId, ...request };
  if (scheme === "plain") {
    return { "X-ML-Timestamp": signed.timestamp, "X-ML-Signature": signPlain(secret, signed) };
  }
  return {
    "X-ML-Key-Id": signed.keyId,
    "X-ML-Nonce": signed.nonce,
    "X-ML-Timestamp": signed.timestamp,
    "X-ML-Signature": signV2(secret, signed),
  };
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const { scheme, secret, body_hex = "", ...request } = JSON.parse(line);
    request.body = Buffer.from(body_hex, "hex");
    const text = scheme === "plain" ? plainStringToSign(request) : v2StringToSign(request);
    const answer = { string_to_sign_hex: Buffer.from(text).toString("hex") };
    console.log(JSON.stringify({ ...answer, headers: headersFor(request, { secret, scheme }) }));
  }
}

const program = process.argv[1] ?? "";
if (existsSync(program) && realpathSync(program) === fileURLToPath(import.meta.url)) await main();
