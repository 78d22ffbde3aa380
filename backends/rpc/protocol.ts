import { fileURLToPath } from "node:url";
import type { MethodDefinition } from "@grpc/grpc-js";
import { loadSync, type Options } from "@grpc/proto-loader";

/** The messages of `processor.proto`, as proto-loader gives and takes them. */
export interface ProcessRequestMessage {
  readonly payload: Uint8Array;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly optionsJson: string;
  readonly context: {
    readonly execution: { readonly namespace: string; readonly name: string; readonly uid: string };
    readonly step: string;
    readonly attempt: number;
    readonly idempotencyKey: string;
    /** Absent, or null where it is read. */
    readonly item?: number | null;
  } | null;
  /** Absent: none. */
  readonly secrets?: Readonly<Record<string, string>>;
}

export interface ProcessResponseMessage {
  readonly result?: { readonly payload: Uint8Array; readonly contentType: string };
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly retryable: boolean;
    readonly retryAfterMs?: number;
  };
  readonly metadata: Readonly<Record<string, string>>;
  /** Absent: nothing. */
  readonly log?: readonly string[];
}

export interface DescribeResponseMessage {
  readonly name: string;
  readonly version: string;
  readonly intent: "INTENT_UNSPECIFIED" | "INTENT_TRANSFORM" | "INTENT_ANALYZE" | number;
  readonly optionsSchemaJson: string;
}

/** The service `millrace.processor.v1.Processor`, for clients and servers of grpc-js. */
export interface ProcessorService {
  readonly Process: MethodDefinition<ProcessRequestMessage, ProcessResponseMessage>;
  readonly Describe: MethodDefinition<Record<string, never>, DescribeResponseMessage>;
}

const serviceName = "millrace.processor.v1.Processor";

/** Absent fields come as their defaults, an enum's value as its name, field names in lowerCamelCase. */
const loaderOptions: Options = { keepCase: false, defaults: true, enums: String };

/** Reads `processor.proto` from beside this file: in the sources and in the published package. Takes some milliseconds. */
export function loadProcessorService(): ProcessorService {
  const file = fileURLToPath(new URL("./processor.proto", import.meta.url));
  const definition = loadSync(file, loaderOptions)[serviceName];
  if (definition === undefined || !("Process" in definition)) throw new Error(`${file} does not define ${serviceName}`);
  return definition as unknown as ProcessorService;
}
