import { expect } from "chai";
import { createLogger } from "../../../controller/runtime/logger.ts";

describe("the logger", () => {
  function collect(format: "JSON" | "Pretty") {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    return { lines, logger: createLogger({ destination, format, level: "info" }) };
  }

  it("writes one JSON object a line, with the fields of its parents, and errors with their causes' stacks", () => {
    const { lines, logger } = collect("JSON");
    logger.child({ controller: "pipeline" }).warn({ object: "ns/a", err: new Error("broken") }, "reconcile failed");
    logger.debug({}, "not at this level");
    expect(lines).to.have.length(1);
    const record = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
    expect(record).to.include({ level: "warn", controller: "pipeline", object: "ns/a", msg: "reconcile failed" });
    expect(record.err).to.include({ message: "broken", type: "Error" });
    expect(record.time).to.match(/^\d{4}-\d\d-\d\dT/);
  });

  it("writes for people on a terminal", () => {
    const { lines, logger } = collect("Pretty");
    logger.info({ port: 8080, host: "localhost" }, "listening");
    const plain = (lines[0] ?? "").replaceAll(new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g"), "");
    expect(plain).to.match(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}listening port=8080 host=localhost\n$/);
    logger.error({ err: new Error("broken") }, "oops");
    expect(lines[1]).to.include("Error: broken\n    at ");
  });
});
