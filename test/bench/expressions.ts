// The time of one `when` and of one `input` on a JSON payload of 1 KiB, as a run evaluates them: variables bound, cost metered,
// and for `input` the value written as a payload; and of the `input` of one of a fan-out's items. The baseline is the same decision in plain JavaScript on the decoded JSON,
// and for `input` the same JSON.stringify and encoding. Decoding is measured on its own, because a run does it once a producer:
// the last row counts that it does, over a run of many steps that all look into the same payload.

import type { Expression, Variables } from "../../engine/expressions/expressions.ts";
import { ExpressionCompiler, executionInput } from "../../engine/expressions/expressions.ts";
import type { Value } from "../../engine/expressions/json-values.ts";
import { encode, parseJson } from "../../engine/expressions/json-values.ts";
import type { Payload } from "../../engine/payload.ts";
import { jsonPayload } from "../../engine/payload.ts";
import { run } from "../../engine/run/run.ts";
import { pipeline, planOf, runOptions, step } from "../support/pipelines.ts";
import type { Bench, Row } from "./bench.ts";
import { compare } from "./bench.ts";

const maxUs = 3;
const rounds = 20_000;
const document = {
  title: "State of the Union",
  language: "en",
  words: 812,
  ratio: 0.25,
  tags: ["speech", "congress", "history"],
  body: "x".repeat(860),
};
const json = JSON.stringify(document);

function compiled(source: string, result: "bool" | "any", variables: "Run" | "Item" = "Run"): Expression {
  const steps = new Map([["clean", 0]]);
  const site = {
    field: "steps[1].when",
    frame: executionInput,
    step: "count",
    steps,
    visibility: () => "Visible" as const,
    parameters: ["language"],
    result,
    variables,
  } as const;
  const compiled = new ExpressionCompiler().compile(source, site);
  if (!compiled.ok) throw new Error(compiled.faults.map((fault) => fault.message).join("; "));
  return compiled.expression;
}

function runVariables(): Variables {
  const clean = new Map<unknown, Value>([["output", parseJson(json)]]);
  return {
    input: null,
    parameters: new Map([["language", "en"]]),
    steps: new Map<unknown, Value>([["clean", clean]]),
    execution: new Map(),
  };
}

async function row(name: string, ours: () => unknown, baseline: () => unknown): Promise<Row> {
  const repeat = (work: () => unknown) => () => {
    let done = 0;
    for (let i = 0; i < rounds; i++) if (work() !== undefined) done++;
    return done;
  };
  const { oursUs, baselineUs } = await compare({ units: rounds, ours: repeat(ours), baseline: repeat(baseline) });
  return {
    name: `expressions/${name}`,
    ratio: oursUs / baselineUs,
    bar: `<= ${maxUs} us`,
    ok: oursUs <= maxUs,
    metrics: { us: oursUs },
    baseline: { us: baselineUs },
  };
}

/** One payload, twenty steps with two expressions each: how often its bytes are asked for. */
async function decodeRow(): Promise<Row> {
  let reads = 0;
  const bytes = new TextEncoder().encode(json);
  const input: Payload = {
    contentType: "application/json",
    size: bytes.byteLength,
    digest: jsonPayload(document).digest,
    bytes: () => {
      reads++;
      return Promise.resolve(bytes);
    },
    stream: () => ReadableStream.from([bytes]),
  };
  const steps = Array.from({ length: 20 }, (_, index) =>
    step(`s${index}`, [], { when: "input.words > 3", input: "{'t': input.title}" }),
  );
  const plan = planOf(pipeline(steps, { output: "input.title" }));
  const outcome = await run(
    plan,
    runOptions({ input, invoke: async (_, request) => ({ ok: true, payload: request.payload, metadata: {} }) }),
  );
  if (outcome.steps.some((result) => result?.state !== "Succeeded")) throw new Error("the run did less than it claims");
  return {
    name: "expressions/decoded-once",
    ratio: reads,
    bar: "<= 1 a producer",
    ok: reads === 1,
    metrics: { reads },
    baseline: { expressions: 41 },
  };
}

export const bench: Bench = async () => {
  const when = compiled("steps.clean.output.words > 500 && steps.clean.output.language == parameters.language", "bool");
  const input = compiled(
    "{'title': steps.clean.output.title, 'words': steps.clean.output.words, 'lang': parameters.language}",
    "any",
  );
  if (when.payloads.includes(executionInput)) throw new Error("the expression reads what it does not name");
  const item = compiled("{'tag': item.tag, 'index': index, 'lang': parameters.language}", "any", "Item");
  const bound = runVariables();
  const ofItem = { ...bound, item: parseJson(JSON.stringify({ tag: "speech" })), index: 7n };
  const plain = { language: "en" };
  return [
    await row(
      "when",
      () => when.evaluate(bound),
      () => document.words > 500 && document.language === plain.language,
    ),
    await row(
      "input",
      () => encode(input.evaluate(bound)),
      () =>
        new TextEncoder().encode(
          JSON.stringify({ title: document.title, words: document.words, lang: plain.language }),
        ),
    ),
    await row(
      "item-input",
      () => encode(item.evaluate(ofItem)),
      () => new TextEncoder().encode(JSON.stringify({ tag: "speech", index: 7, lang: plain.language })),
    ),
    await decodeRow(),
  ];
};
