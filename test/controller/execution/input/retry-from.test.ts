import { expect } from "chai";
import type { Execution, ExecutionSpec, ExecutionStatus, PipelineSpec } from "../../../../controller/api/types.ts";
import type { CompiledPipeline } from "../../../../controller/catalog.ts";
import { readRetryFrom } from "../../../../controller/execution/input/retry-from.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { step } from "../../../support/pipelines.ts";
import { never } from "../../payloads/store-folder.ts";
import { FakeApi, pendingStatus } from "../fake-api.ts";
import { compiled } from "../stage.ts";

const finished: ExecutionStatus = {
  phase: "Failed",
  pipelineRevision: "article-1",
  conditions: [{ type: "Complete", status: "True", reason: "StepFailed", message: "", lastTransitionTime: "" }],
  steps: [{ name: "clean", state: "Succeeded", attempts: 1, request: "f00d" }],
};

const retrying = { pipeline: "article", retryFrom: { execution: "first" } };

/** The Execution that retries, whose own revision is known already. */
function second(
  api: FakeApi,
  spec: Partial<ExecutionSpec> = retrying,
  status: ExecutionStatus = pendingStatus,
): Execution {
  return api.put("second", spec, { ...status, pipelineRevision: "article-1" });
}

/** What the revisions hold; the Execution that retries runs `article`. */
const revisions = new Map<string, CompiledPipeline>();
const article = compiled([step("clean", [], { processor: "work" })]);

async function read(execution: Execution, client: FakeApi) {
  const held = {
    read: async (_namespace: string, name: string) => {
      const found = revisions.get(name);
      if (found === undefined) throw new MillraceError("NotFound", `there is no ${name}`);
      return found;
    },
  };
  return await readRetryFrom(execution, article, { client, revisions: held }, never);
}

async function refusal(api: FakeApi, execution: Execution): Promise<string> {
  try {
    await read(execution, api);
    return "taken";
  } catch (error) {
    return error instanceof MillraceError ? `${error.code}: ${error.message}` : String(error);
  }
}

function withSpec(spec: object): CompiledPipeline {
  return { ...article, closure: { ...article.closure, spec: spec as PipelineSpec } };
}

describe("retryFrom", () => {
  it("takes over the results of a finished run of the same revision", async () => {
    const api = new FakeApi();
    api.put("first", { pipeline: "article" }, finished);
    const { earlier } = await read(second(api), api);
    expect(earlier?.knows("clean")).to.equal(true);
  });

  const definition = article.closure.spec;
  const others: readonly [string, CompiledPipeline | undefined, boolean][] = [
    ["Processors were edited since: their digests tell", article, true],
    [
      "how many runs there may be was edited",
      withSpec({ ...definition, concurrency: { limit: 1, policy: "Queue" } }),
      true,
    ],
    ["a step was edited", withSpec({ ...definition, steps: [{ name: "clean", processor: "other" }] }), false],
    ["the earlier revision is gone", undefined, false],
  ];
  for (const [what, earlierPipeline, isKnown] of others) {
    it(`${isKnown ? "takes over" : "runs"} everything where ${what}`, async () => {
      revisions.clear();
      if (earlierPipeline !== undefined) revisions.set("article-0", earlierPipeline);
      const api = new FakeApi();
      api.put("first", { pipeline: "article" }, { ...finished, pipelineRevision: "article-0" });
      const { earlier } = await read(second(api), api);
      expect(earlier !== undefined).to.equal(isKnown);
    });
  }

  it("has the earlier run's input and parameters where the Execution gives none", async () => {
    const api = new FakeApi();
    const parameters = [
      { name: "language", value: "de" },
      { name: "top", value: 3 },
    ];
    api.put("zeroth", { pipeline: "article", input: { text: "book" }, parameters }, finished);
    api.put(
      "first",
      { ...retrying, retryFrom: { execution: "zeroth" }, parameters: [{ name: "top", value: 4 }] },
      finished,
    );
    const own = second(api, { ...retrying, parameters: [{ name: "language", value: "en" }] });
    const { given, inputOf } = await read(own, api);
    expect(given).to.deep.equal({ language: "en", top: 4 });
    expect(inputOf.spec.input).to.deep.equal({ text: "book" });
  });

  it("keeps an input that the Execution gives", async () => {
    const api = new FakeApi();
    api.put("first", { pipeline: "article", input: { text: "book" } }, finished);
    const { inputOf } = await read(second(api, { ...retrying, input: { text: "mine" } }), api);
    expect(inputOf.spec.input).to.deep.equal({ text: "mine" });
  });

  it("is refused, with a mend, for a run that is gone, unfinished, of another Pipeline or the run itself", async () => {
    const api = new FakeApi();
    expect(await refusal(api, second(api))).to.match(
      /^InvalidInput: spec.retryFrom.execution: there is no Execution "first"/,
    );
    api.put("first", { pipeline: "article" }, { ...finished, conditions: [] });
    expect(await refusal(api, second(api)))
      .to.contain("has not finished")
      .and.to.contain("kubectl wait");
    api.put("first", { pipeline: "book" }, finished);
    expect(await refusal(api, second(api))).to.contain('ran Pipeline "book", and this one runs Pipeline "article"');
    const itself = second(api, { ...retrying, retryFrom: { execution: "second" } });
    expect(await refusal(api, itself)).to.contain("its own results");
    const spec = (name: string) =>
      ({ pipelineSpec: { steps: [{ name, processor: "work" }] } }) as unknown as ExecutionSpec;
    api.put("first", spec("a"), finished);
    expect(await refusal(api, second(api, { ...spec("b"), retryFrom: retrying.retryFrom }))).to.contain(
      "another pipelineSpec",
    );
    expect(await refusal(api, second(api, { ...spec("a"), retryFrom: retrying.retryFrom }))).to.equal("taken");
  });

  it("is refused when the input was inherited from a run that is gone", async () => {
    const api = new FakeApi();
    api.put("first", { ...retrying, retryFrom: { execution: "zeroth" } }, finished);
    expect(await refusal(api, second(api))).to.contain('had its input from Execution "zeroth", which is gone');
    api.put("first", { ...retrying, retryFrom: { execution: "zeroth" }, input: { text: "book" } }, finished);
    expect(await refusal(api, second(api))).to.equal("taken");
  });

  it("is gone without harm to a run that has begun, unless its input came from there", async () => {
    const api = new FakeApi();
    const begun = { ...pendingStatus, owner: { replica: "dead", epoch: 1 } };
    const own = second(api, { ...retrying, input: { text: "mine" } }, begun);
    expect((await read(own, api)).earlier).to.equal(undefined);
    expect(await refusal(api, second(api, retrying, begun))).to.contain("there is no Execution");
  });
});
