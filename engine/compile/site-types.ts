import { executionInput } from "../expressions/expressions.ts";
import type { Type, VariableTypes } from "../expressions/types.ts";
import { anyType, listOf, mapOf, typeOf } from "../expressions/types.ts";
import type { ProcessorFacts } from "../pipeline.ts";
import type { Frame } from "./frames.ts";
import type { FlatGraph } from "./inline.ts";
import type { Origins } from "./origins.ts";
import { metadataType, orNull, schemaType } from "./schema-types.ts";

const text = typeOf("string");
const executionType = mapOf(new Map([]), text);

/** What `input` is in a cache's key. */
const receivedType = mapOf(
  new Map([
    ["digest", text],
    ["contentType", text],
    ["size", typeOf("int")],
  ]),
  anyType,
);

/** What declared schemas say of the variables of each frame. */
export class SiteTypes {
  readonly #graph: FlatGraph;
  readonly #facts: readonly (ProcessorFacts | undefined)[];
  readonly #origins: Origins;
  readonly #frames = new Map<Frame, VariableTypes>();

  constructor(graph: FlatGraph, facts: readonly (ProcessorFacts | undefined)[], origins: Origins) {
    this.#graph = graph;
    this.#facts = facts;
    this.#origins = origins;
  }

  /** Of the expressions of a frame; `item`: where there is one, its type. */
  variables(frame: Frame, isCacheKey: boolean, item: Type | undefined): VariableTypes {
    const shared = this.#shared(frame);
    if (!isCacheKey && item === undefined) return shared;
    const own: [string, Type][] =
      item === undefined
        ? []
        : [
            ["item", item],
            ["index", typeOf("int")],
          ];
    if (isCacheKey) own.push(["input", receivedType]);
    return new Map([...shared, ...own]);
  }

  #shared(frame: Frame): VariableTypes {
    let variables = this.#frames.get(frame);
    if (variables === undefined) {
      const parameters = frame.definition.parameters.map(({ name, schema }) => [name, schemaType(schema)] as const);
      variables = new Map([
        ["input", this.#produced(frame.enter)],
        ["parameters", mapOf(new Map(parameters))],
        ["steps", this.#steps(frame)],
        ["execution", executionType],
      ]);
      this.#frames.set(frame, variables);
    }
    return variables;
  }

  /** Computed when asked for: a Pipeline may have a thousand steps, and an expression names few. */
  #steps(frame: Frame): Type {
    const property = (name: string) => {
      const index = frame.steps.get(name);
      return index === undefined ? anyType : this.#step(index);
    };
    return { ...mapOf(new Map()), property };
  }

  #step(index: number): Type {
    const schema =
      this.#graph.steps[index]?.definition.forEach === undefined ? this.#facts[index]?.metadataSchema : undefined;
    return mapOf(
      new Map([
        ["output", this.#output(index)],
        ["metadata", metadataType(schema)],
      ]),
    );
  }

  /** Of an Analyze step that of the payload that passes through it. */
  #output(index: number): Type {
    const type = this.#produced(this.#origins.given[index]);
    return this.#graph.steps[index]?.definition.onFailure === "Ignore" ? orNull(type) : type;
  }

  #produced(origin: number | undefined): Type {
    if (origin === undefined) return anyType;
    if (origin === executionInput) return schemaType(this.#graph.frame.definition.inputSchema);
    const step = this.#graph.steps[origin];
    if (step === undefined) return anyType;
    switch (step.kind) {
      case "Enter":
        return schemaType(step.inlined?.frame.definition.inputSchema);
      case "Exit":
        return step.inlined?.frame.definition.output === undefined
          ? this.#produced(this.#origins.received[origin])
          : anyType;
      case "Processor":
        return this.#processed(origin);
    }
  }

  #processed(index: number): Type {
    const facts = this.#facts[index];
    if (facts === undefined || facts.intent === "Analyze") return anyType;
    const output = schemaType(facts.outputSchema);
    const definition = this.#graph.steps[index]?.definition;
    if (definition?.forEach === undefined) return output;
    return listOf(definition.onFailure === "Ignore" ? orNull(output) : output);
  }
}
