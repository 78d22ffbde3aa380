import { expect } from "chai";
import type { StepRow } from "../../../../controller/api/types.ts";
import { bareRows, fitted, isComfortable, maxStatusBytes } from "../../../../controller/execution/run/fitted.ts";
import { renderStatus } from "../../../../controller/execution/status.ts";

const digest = (index: number) => `sha256:${index.toString(16).padStart(64, "0")}`;
const stored = (index: number) => ({ ref: digest(index), bytes: 123_456 });

function render(steps: StepRow[]) {
  return renderStatus({ generation: 1, conditions: [], verdict: { phase: "Running", message: "" }, rows: steps }, 0);
}

/** As many rows as a run may have, each with all that a row of its state may have. */
function fullRows(): StepRow[] {
  return Array.from({ length: 1_032 }, (_, index) => {
    const common = {
      name: `publish/step-${index}`,
      attempts: 1,
      startTime: "2026-01-01T00:00:00Z",
      durationMs: 12_345,
      log: stored(index),
      request: "0123456789abcdef0123456789abcdef",
      processor: { name: "word-count", generation: 2, digests: [digest(index)] },
    };
    if (index % 8 === 7) {
      const error = { code: "Internal", kind: "System", message: "x".repeat(1024), full: stored(index) } as const;
      return { ...common, state: "Failed", error };
    }
    const output = { payload: stored(index), contentType: "application/json" };
    return { ...common, state: "Succeeded", output, metadataPayload: stored(index) };
  });
}

describe("a status that grows large", () => {
  it("keeps 1,032 full rows within its limit, with everything that a resumed run needs", () => {
    const rows = fullRows();
    const fit = fitted(render(rows));
    expect(isComfortable(render(rows))).to.equal(false);
    if (!("status" in fit)) throw new Error(`too large: ${fit.tooLargeBytes}`);
    expect(JSON.stringify(fit.status).length).to.be.at.most(maxStatusBytes);
    const kept = fit.status.steps?.map(({ name, state, attempts, output, metadataPayload, log }) =>
      JSON.stringify({ name, state, attempts, output, metadataPayload, log }),
    );
    expect(kept).to.deep.equal(
      rows.map(({ name, state, attempts, output, metadataPayload, log }) =>
        JSON.stringify({ name, state, attempts, output, metadataPayload, log }),
      ),
    );
    expect(fit.status.steps?.[7]?.error?.full).to.deep.equal(stored(7));
  });

  it("first says less in its messages, and keeps what retryFrom needs", () => {
    const message = "x".repeat(1024);
    const failed = fullRows()
      .slice(0, 500)
      .map(({ name, processor, request }) => ({
        name,
        processor,
        request,
        state: "Failed",
        attempts: 1,
        error: { code: "Internal", kind: "System", message },
      })) as StepRow[];
    const fit = fitted(render(failed));
    if (!("status" in fit)) throw new Error("too large");
    expect(fit.status.steps?.every(({ error }) => (error?.message.length ?? 0) <= 160)).to.equal(true);
    expect(fit.status.steps?.every(({ request, processor }) => request && processor?.digests)).to.equal(true);
  });

  it("leaves out when steps ran before what retryFrom compares", () => {
    const rows = fullRows().slice(0, 800);
    const fit = fitted(render(rows));
    if (!("status" in fit)) throw new Error("too large");
    expect(fit.status.steps?.[0]).to.include.keys("request", "processor").and.not.include.keys("startTime");
  });

  it("keeps of many fan-outs the counts and the results", () => {
    const failures = Array.from({ length: 16 }, (_, index) => ({
      index,
      code: "Internal" as const,
      message: "x".repeat(160),
    }));
    const done = Array.from({ length: 500 }, (_, index) => 2 * index).join(",");
    const rows = Array.from({ length: 500 }, (_, index): StepRow => {
      const items = { total: 1_000, succeeded: 484, failed: 16, done, results: stored(index), failures };
      return { name: `pages-${index}`, state: "Running", items };
    });
    const fit = fitted(render(rows));
    if (!("status" in fit)) throw new Error("too large");
    const { items } = fit.status.steps?.[3] ?? {};
    expect(items).to.deep.equal({
      total: 1_000,
      succeeded: 484,
      failed: 16,
      results: stored(3),
      failures: failures.slice(0, 1),
    });
  });

  it("is refused above its limit, and bare rows are always within it", () => {
    const metadata = { note: "x".repeat(1024) };
    const heavy = fullRows().map((row) => ({ ...row, metadata }));
    expect(fitted(render(heavy))).to.have.key("tooLargeBytes");
    expect(JSON.stringify(bareRows(heavy)).length).to.be.lessThan(maxStatusBytes);
  });
});
