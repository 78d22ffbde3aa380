// 1 KiB to an HTTP server in another process and back, 32 calls in flight over 32 connections, through call.ts and the
// RPC backend.
// Baseline: undici's Pool.request as its guide shows, with the same number of connections and the same headers (made once,
// where ours are made for each call), the body read as bytes. The same headers, as a server's work grows with them.
import { Pool } from "undici";
import { bytesRequest, httpAt, rpcBackend, specOf } from "../support/rpc/calls.ts";
import { startServerProcess } from "../support/rpc/child.ts";
import { callerOf, callMany, echoes } from "../support/rpc/load.ts";
import { type Bench, compare } from "./bench.ts";

const inFlight = 32;
const units = 1600;
const rounds = 25;
const payloadBytes = 1024;

export const bench: Bench = async () => {
  await using server = await startServerProcess("echo-server.ts", "http");
  await using backend = rpcBackend();
  const { signal } = new AbortController();
  await using caller = callerOf(await backend.load(specOf(httpAt(server.endpoint, inFlight)), signal));
  const request = bytesRequest(payloadBytes);
  const pool = new Pool(server.endpoint, { connections: inFlight });
  const body = new Uint8Array(payloadBytes).fill(120);
  const { oursUs, baselineUs } = await compare({
    units,
    rounds,
    ours: () => callMany(units, inFlight, () => echoes(caller, request, signal)),
    baseline: () => callMany(units, inFlight, () => byHand(pool, body)),
  });
  await pool.close();
  const ratio = baselineUs / oursUs;
  return [
    {
      name: "rpc-http",
      ratio,
      bar: ">= 0.9",
      ok: ratio >= 0.9,
      metrics: { callsPerSecond: 1e6 / oursUs },
      baseline: { callsPerSecond: 1e6 / baselineUs },
    },
  ];
};

const headers = {
  "content-type": "application/octet-stream",
  "millrace-execution": "default/article-x7k2p",
  "millrace-execution-uid": "0b7e6d5f-9c7b-4c1e-8a55-000000000001",
  "millrace-step": "count",
  "millrace-attempt": "1",
  "idempotency-key": "0b7e6d5f-9c7b-4c1e-8a55-000000000001/count",
  "millrace-timeout-ms": "30000",
};

async function byHand(pool: Pool, body: Uint8Array): Promise<boolean> {
  const response = await pool.request({ method: "POST", path: "/process", headers, body });
  const bytes = await response.body.bytes();
  return response.statusCode === 200 && bytes.byteLength === payloadBytes;
}
