import { type Json, mediaType, type Payload } from "../engine/payload.ts";
import type { ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { BackendContext, LoadedModule, LoadedProcessor } from "./backend.ts";

/** Whether what a processor gives is what its `outputSchema` and `metadataSchema` declare; each says what is wrong, or nothing. */
export interface ResponseChecks {
  /** Of a JSON output its value, of a text the string. Not for an Analyze processor, which has no output of its own. */
  readonly output?: (value: Json) => string | undefined;
  readonly metadata?: (metadata: Readonly<Record<string, string>>) => string | undefined;
}

/** A larger output is not checked: it would hold up everybody, and no expression looks into it. In bytes. */
const maxCheckedBytes = 1024 * 1024;

/** The code of the failure of a processor that does not keep to its own schemas. */
const schemaViolation = "SchemaViolation";

/** The same processor, held to its own schemas: an answer that breaks one becomes a declared failure, not retryable. */
export class CheckedProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly module?: LoadedModule;
  readonly maxConcurrency?: number;
  readonly probe?: (signal: AbortSignal) => Promise<void>;
  readonly #inner: LoadedProcessor;
  readonly #checks: ResponseChecks;

  constructor(inner: LoadedProcessor, checks: ResponseChecks) {
    this.name = inner.name;
    this.intent = inner.intent;
    if (inner.module !== undefined) this.module = inner.module;
    if (inner.maxConcurrency !== undefined) this.maxConcurrency = inner.maxConcurrency;
    if (inner.probe !== undefined) this.probe = inner.probe.bind(inner);
    this.#inner = inner;
    this.#checks = checks;
  }

  get digests(): readonly string[] {
    return this.#inner.digests;
  }

  async process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const response = await this.#inner.process(request, context);
    if (!response.ok) return response;
    const { metadata, payload } = response;
    const fault = this.#checks.metadata?.(metadata) ?? (await this.#outputFault(payload, context.signal));
    if (fault === undefined) return response;
    const message = `${this.name} does not keep to its own schema: ${fault}`;
    return { ok: false, metadata: {}, error: { code: schemaViolation, message, retryable: false } };
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#inner[Symbol.asyncDispose]();
  }

  async #outputFault(payload: Payload, signal: AbortSignal): Promise<string | undefined> {
    const { output } = this.#checks;
    if (output === undefined || this.intent === "Analyze" || payload.size > maxCheckedBytes) return undefined;
    const type = mediaType(payload.contentType);
    const isJson = type === "application/json" || type.endsWith("+json");
    if (!isJson && !type.startsWith("text/")) {
      return `output is of type ${type}, and outputSchema describes JSON or text`;
    }
    const text = new TextDecoder().decode(await payload.bytes(signal));
    if (!isJson) return output(text);
    try {
      return output(JSON.parse(text));
    } catch (error) {
      if (error instanceof SyntaxError) return `output is of type ${type}, and is not JSON`;
      throw error;
    }
  }
}
