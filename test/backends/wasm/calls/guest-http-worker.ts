// A worker that makes the requests that it is sent by a guest's HTTP, one after another, and says what came of each.

import { parentPort } from "node:worker_threads";
import type { GuestHttpRequest } from "../../../../backends/wasm/abis/guest.ts";
import { guestHttp } from "../../../../backends/wasm/calls/guest-http.ts";
import type { GuestLink } from "../../../../backends/wasm/calls/guest-link.ts";
import { MillraceError } from "../../../../engine/errors.ts";

parentPort?.on("message", ({ link, requests }: { link: GuestLink; requests: readonly GuestHttpRequest[] }) => {
  const http = guestHttp(link);
  const results = requests.map((request) => {
    try {
      return { response: http(request) };
    } catch (thrown) {
      if (thrown instanceof MillraceError) return { code: thrown.code, message: thrown.message };
      return { code: "none of ours", message: String(thrown) };
    }
  });
  parentPort?.postMessage(results);
});
