// Made from crds/ by `npm run generate`; not to be edited. The objects as the API server gives them, defaults filled in.
import type {Json} from "../../engine/payload.ts";
import type {KubernetesObject, ObjectMeta} from "./client.ts";

/**
 * An ES module in the plugins directory of the controller.
 */
export interface ModuleSpec {
  /**
   * The module's path, relative to the plugins directory, for example `words.mjs`. No part of it may begin with a dot.
   */
  readonly file: string;
  /**
   * The name of the exported function: `process` unless said otherwise. `default` names the default export.
   */
  readonly export: string;
  /**
   * Pins the file's content: `sha256:` and 64 lower-case hexadecimal digits. A file with another content is refused. Absent: whatever the file holds; the digest found is in status.module.
   */
  readonly digest?: string;
  /**
   * Where the module runs. Thread (default): in a pool of worker threads. Inline: in the controller's own thread; only where the installation allows it (--allow-isolation).
   */
  readonly isolation: "Thread" | "Inline";
}
/**
 * Runs inside Millrace: exactly one of `builtin` and `module`.
 */
export interface LocalSpec {
  /**
   * The name of a processor that is part of Millrace, for example `text.uppercase`.
   */
  readonly builtin?: string;
  readonly module?: ModuleSpec;
}
/**
 * What only the HTTP protocol needs.
 */
export interface HttpSpec {
  /**
   * The path that is posted to, and its query if any; `/process` unless said otherwise.
   */
  readonly path: string;
}
/**
 * A service reached over the network, by gRPC (millrace.processor.v1.Processor) or by HTTP POST.
 */
export interface RpcSpec {
  /**
   * GRPC calls millrace.processor.v1.Processor/Process; HTTP posts the payload as the request's body.
   */
  readonly protocol: "GRPC" | "HTTP";
  /**
   * Where the service is. GRPC: `host:port` or `dns:///host:port`. HTTP: `http://host[:port]` or `https://host[:port]`, without a path.
   */
  readonly endpoint: string;
  readonly http?: HttpSpec;
  /**
   * Connections (HTTP) or channels (GRPC) that each replica keeps to the service, from 1 to 64; 4 unless said otherwise.
   */
  readonly maxConnections: number;
}
/**
 * A key of the `binaryData` of a ConfigMap in the same namespace.
 */
export interface ConfigMapKeyRef {
  /**
   * The name of the ConfigMap.
   */
  readonly name: string;
  /**
   * The key in its `binaryData`, for example `words.wasm`.
   */
  readonly key: string;
}
/**
 * Where the module comes from: exactly one of `oci`, `http`, `configMapKeyRef` and `file`.
 */
export interface WasmSource {
  /**
   * An artifact or image of an OCI registry, as `registry/repository:tag`, `…@sha256:…` or both, for example `ghcr.io/acme/words:1.2`. Without a registry: Docker Hub; without a tag: `latest`.
   */
  readonly oci?: string;
  /**
   * Where the module can be fetched, for example `https://example.com/words.wasm`. `http://` only where the installation allows it for that host (--insecure-registry).
   */
  readonly http?: string;
  readonly configMapKeyRef?: ConfigMapKeyRef;
  /**
   * The module's path, relative to the modules directory of the controller, for example `words.wasm`. No part of it may begin with a dot.
   */
  readonly file?: string;
}
/**
 * A Secret of the type kubernetes.io/dockerconfigjson in the same namespace, with the credentials of the registry; with `oci` alone.
 */
export interface PullSecretRef {
  /**
   * The name of the Secret.
   */
  readonly name: string;
}
/**
 * A Secret in the same namespace that holds the public key, of cosign (PEM) or of minisign.
 */
export interface PublicKeySecretRef {
  /**
   * The name of the Secret.
   */
  readonly name: string;
  /**
   * The key in its `data`. Absent: its only one, else `cosign.pub`, else `minisign.pub`.
   */
  readonly key?: string;
}
/**
 * Who must have signed the module; one without a signature that fits is refused.
 */
export interface WasmVerification {
  readonly publicKeySecretRef: PublicKeySecretRef;
}
/**
 * What a call may use, besides the time of spec.timeout.
 */
export interface WasmLimits {
  /**
   * The most linear memory an instance may have, in bytes or with a suffix k, M, G, Ki, Mi or Gi: 64Mi unless said otherwise, at most 4Gi. Growth beyond it fails.
   */
  readonly memory: number | string;
  /**
   * The most instructions that a call may take, as they are counted in the module: 10000000000 unless said otherwise, at most 100000000000000. The same call of the same module takes the same on every machine; what it took is in the step's row.
   */
  readonly fuel: number;
}
/**
 * A key of a Secret in the same namespace.
 */
export interface SecretKeyRef {
  /**
   * The name of the Secret.
   */
  readonly name: string;
  /**
   * The key in its `data`.
   */
  readonly key: string;
}
/**
 * Where its value comes from.
 */
export interface WasmEnvSource {
  readonly secretKeyRef: SecretKeyRef;
}
/**
 * One variable: exactly one of `value` and `valueFrom`.
 */
export interface WasmEnvVar {
  /**
   * Its name: letters, digits and '_', no digit first, for example `LOG_LEVEL`.
   */
  readonly name: string;
  /**
   * Its value.
   */
  readonly value?: string;
  readonly valueFrom?: WasmEnvSource;
}
/**
 * One setting.
 */
export interface WasmConfigEntry {
  /**
   * Its name. Those that begin with `millrace.` are Millrace's own.
   */
  readonly name: string;
  /**
   * Its value.
   */
  readonly value: string;
}
/**
 * What the module may do besides computing. Absent: nothing.
 */
export interface WasmCapabilities {
  /**
   * Hosts that its HTTP requests may go to, at most 64: a name such as `api.example.com`, or `*.example.com` for all names below it.
   *
   * Items: A host.
   */
  readonly allowedHosts?: readonly string[];
  /**
   * Environment variables of WASI, at most 64.
   */
  readonly env?: readonly WasmEnvVar[];
  /**
   * Settings that the module reads as its ABI has it (Extism's config, an operation of WaPC), at most 64.
   */
  readonly config?: readonly WasmConfigEntry[];
  /**
   * With it, WASI's random numbers are the same in every call, made from this text. Absent: the system's.
   */
  readonly randomSeed?: string;
}
/**
 * A WebAssembly module, run in a sandbox with limits of memory, instructions and time, and with the capabilities given here alone.
 */
export interface WasmSpec {
  readonly source: WasmSource;
  /**
   * Pins the module's content: `sha256:` and 64 lower-case hexadecimal digits. A module with another content is refused. Absent: whatever the source holds; the digest found is in status.module.
   */
  readonly digest?: string;
  /**
   * Of `oci` and `http`, when the source is asked. Always: once a minute, whether it names another module now. IfNotPresent: when no copy is kept here. Never: a copy must be here. Absent: Always for an `oci` of the tag `latest` or without tag and digest, else IfNotPresent.
   */
  readonly pullPolicy?: "Always" | "IfNotPresent" | "Never";
  readonly pullSecretRef?: PullSecretRef;
  readonly verify?: WasmVerification;
  /**
   * The contract between Millrace and the module. Auto (default): found from the module's imports and exports, tried in the order Direct (Millrace's own), Extism, WaPC, Dagwood.
   */
  readonly abi: "Auto" | "Direct" | "Extism" | "WaPC" | "Dagwood";
  /**
   * The exported function that is called: `process` unless said otherwise. Of WaPC, the operation.
   */
  readonly entrypoint: string;
  readonly limits: WasmLimits;
  readonly capabilities?: WasmCapabilities;
  /**
   * Calls that an instance serves before the next one gets a fresh instance, from 1 to 10000; 1 unless said otherwise. Above 1 a call sees what those before it left in memory.
   */
  readonly reuse: number;
  /**
   * Where the module runs. Worker (default): in a pool of worker threads. Inline: in the controller's own thread, for pure functions of microseconds; only with limits.fuel of at most 5000000, and where the installation allows it (--allow-isolation).
   */
  readonly isolation: "Worker" | "Inline";
}
/**
 * One secret.
 */
export interface SecretRef {
  /**
   * The name the processor knows it by: a DNS label (lower-case letters, digits and hyphens, at most 63 characters), for example `api-key`.
   */
  readonly name: string;
  readonly secretKeyRef: SecretKeyRef;
}
/**
 * How long to wait before a retry.
 */
export interface BackoffSpec {
  /**
   * The wait before the first retry, a duration: 100ms unless said otherwise.
   */
  readonly initial: string;
  /**
   * By how much each wait is longer than the one before, from 1 to 10; 2 unless said otherwise.
   */
  readonly factor: number;
  /**
   * The longest wait, a duration: 10s unless said otherwise.
   */
  readonly max: string;
  /**
   * How far a wait may stray from its value at random, either way, in percent, from 0 to 100; 20 unless said otherwise.
   */
  readonly jitterPercent: number;
}
/**
 * When a failed attempt is followed by another. A step may say otherwise, field by field.
 */
export interface RetrySpec {
  /**
   * Retries after the first attempt, from 0 to 10. Absent: 1, or 0 with delivery AtMostOnce, which allows no more.
   */
  readonly limit?: number;
  readonly backoff: BackoffSpec;
  /**
   * How many retries per hundred calls of this Processor each replica makes at most, from 0 to 100, so that retries cannot storm; 20 unless said otherwise. Ten in ten seconds are always allowed. With the budget used up, a failed attempt fails its step.
   */
  readonly budgetPercent: number;
  /**
   * The error codes that are worth another attempt: Unavailable, ResourceExhausted and ProcessorCrashed unless said otherwise. A failure that the processor declared itself is retried when the processor says that it is retryable.
   *
   * Items: A code of the closed set of errors.
   */
  readonly codes: readonly (
    | "InvalidInput"
    | "NotFound"
    | "PayloadTooLarge"
    | "Unavailable"
    | "DeadlineExceeded"
    | "ResourceExhausted"
    | "SandboxViolation"
    | "ProcessorFailed"
    | "ProcessorCrashed"
    | "PayloadLost"
    | "Internal"
  )[];
}
/**
 * What the operation is and how it is called. Exactly one of `local`, `rpc` and `wasm` says what runs it.
 */
export interface ProcessorSpec {
  /**
   * What becomes of the payload. Transform (default): the output replaces it. Analyze: it passes through unchanged, and the processor contributes metadata only.
   */
  readonly intent: "Transform" | "Analyze";
  readonly local?: LocalSpec;
  readonly rpc?: RpcSpec;
  readonly wasm?: WasmSpec;
  /**
   * Options handed to the processor with every call; a step's options are merged over them, key by key. What they mean is the processor's affair. At most 4 KiB as JSON, after the merge.
   */
  readonly options?: Readonly<Record<string, Json>>;
  /**
   * A JSON Schema (draft 2020-12) of the options. A Pipeline whose step gives options that do not fit is refused. Absent: any options.
   */
  readonly optionsSchema?: Readonly<Record<string, Json>>;
  /**
   * A JSON Schema (draft 2020-12) of the output. Expressions that read it are checked against it when a Pipeline is. Absent: any output.
   */
  readonly outputSchema?: Readonly<Record<string, Json>>;
  /**
   * A JSON Schema (draft 2020-12) of the metadata, an object of texts. Expressions that read it are checked against it when a Pipeline is. Absent: any metadata.
   */
  readonly metadataSchema?: Readonly<Record<string, Json>>;
  /**
   * Values of Secrets that the processor gets with every call, at most 32. They are in no expression, payload, cache or status, and are masked in logs and errors.
   */
  readonly secrets?: readonly SecretRef[];
  /**
   * How often a call may reach the processor. AtLeastOnce (default): an attempt whose outcome was lost with its replica is made again. AtMostOnce: an attempt is recorded before it starts and never made again, not as a retry either; if its outcome is lost, the step fails with Interrupted.
   */
  readonly delivery: "AtLeastOnce" | "AtMostOnce";
  /**
   * How long one attempt may take, wall clock, as a duration such as `500ms`, `30s` or `1m30s`: 30s unless said otherwise, at most 576h. A step may say otherwise.
   */
  readonly timeout: string;
  readonly retry: RetrySpec;
  /**
   * The largest payload the processor takes, in bytes or with a suffix k, M, Ki or Mi: 4Mi unless said otherwise, at most 64Mi. A larger one fails the step with PayloadTooLarge.
   */
  readonly maxInputSize: number | string;
  /**
   * The largest payload the processor may give, in bytes or with a suffix k, M, Ki or Mi: 4Mi unless said otherwise, at most 64Mi. A larger one fails the step with PayloadTooLarge; nothing is ever truncated.
   */
  readonly maxOutputSize: number | string;
  /**
   * Calls in flight at once, per replica of the controller, from 1 to 1024; 64 unless said otherwise. Further calls wait.
   */
  readonly maxConcurrency: number;
}
/**
 * One aspect of the object's state.
 */
export interface Condition {
  /**
   * Which aspect, in CamelCase.
   */
  readonly type: string;
  /**
   * Whether it is so.
   */
  readonly status: "True" | "False" | "Unknown";
  /**
   * The metadata.generation that the condition speaks of.
   */
  readonly observedGeneration?: number;
  /**
   * When the status last changed.
   */
  readonly lastTransitionTime: string;
  /**
   * Why, in CamelCase; stable, made for programs.
   */
  readonly reason: string;
  /**
   * Why, and what to do about it; made for people.
   */
  readonly message: string;
}
/**
 * The module that is loaded; absent for built-ins and services.
 */
export interface ModuleStatus {
  /**
   * The sha256 of its content, as `sha256:` and 64 hexadecimal digits.
   */
  readonly digest?: string;
  /**
   * Its size in bytes.
   */
  readonly bytes?: number;
  /**
   * Where it was read from.
   */
  readonly source?: string;
  /**
   * Of an OCI source: the manifest that its reference named, as `registry/repository@sha256:…`.
   */
  readonly reference?: string;
  /**
   * The contract it is called by.
   */
  readonly abi?: string;
  /**
   * What it imports, as module.name; at most the first 256.
   *
   * Items: An import.
   */
  readonly imports?: readonly string[];
  /**
   * What it exports; at most the first 256.
   *
   * Items: An export.
   */
  readonly exports?: readonly string[];
}
/**
 * What the controller found. Written by the controller alone.
 */
export interface ProcessorStatus {
  /**
   * The metadata.generation that this status speaks of.
   */
  readonly observedGeneration?: number;
  /**
   * What runs the processor.
   */
  readonly backend?: "Local" | "RPC" | "WASM";
  /**
   * Ready: calls can be made. Reconciling: the controller is at work on a new generation. Stalled: it cannot go on until somebody mends the object or its surroundings. And one by backend: PluginLoaded, EndpointReachable or ModuleCached.
   */
  readonly conditions?: readonly Condition[];
  readonly module?: ModuleStatus;
}
/**
 * A Processor is one implementation of one operation. Steps of a Pipeline name it; whether it is a local module, an RPC service or a WebAssembly module is its own affair.
 */
export interface Processor extends KubernetesObject {
  readonly apiVersion: "millrace.dev/v1alpha1";
  readonly kind: "Processor";
  readonly metadata: ObjectMeta;
  readonly spec: ProcessorSpec;
  readonly status?: ProcessorStatus;
}
/**
 * One parameter.
 */
export interface ParameterSpec {
  /**
   * The parameter's name: a letter or '_', then letters, digits, '_' and '-'. With a hyphen in it, expressions say `parameters['max-words']`.
   */
  readonly name: string;
  /**
   * A JSON Schema (draft 2020-12) of the value, for example `{type: string, enum: [en, de]}`. Absent: any JSON.
   */
  readonly schema?: Readonly<Record<string, Json>>;
  /**
   * The value of an Execution that gives none, any JSON. Absent: every Execution must give one.
   */
  readonly default?: Json;
}
/**
 * What the Executions' input must be like.
 */
export interface InputSpec {
  /**
   * A JSON Schema (draft 2020-12) that the input must fit; it must then be JSON, or text, which is a string to the schema. Absent: any input.
   */
  readonly schema?: Readonly<Record<string, Json>>;
  /**
   * The largest input, in bytes or with a suffix k, M, Ki or Mi: 4Mi unless said otherwise, at most 64Mi. A larger one fails the Execution with PayloadTooLarge.
   */
  readonly maxSize: number | string;
}
/**
 * One parameter's value.
 */
export interface StepParameter {
  /**
   * The parameter's name, as the other Pipeline declares it.
   */
  readonly name: string;
  /**
   * A CEL expression that gives its value, for example `parameters.language` or `'de'`. It sees what `input` sees.
   */
  readonly value: string;
}
/**
 * Takes the result of an earlier run instead of running the step, where the Processor's digest, the options and what the step receives are the same. Absent: the step always runs.
 */
export interface CacheSpec {
  /**
   * How old a result may be, as a duration such as `1h`, at most 576h.
   */
  readonly maxAge: string;
  /**
   * A CEL expression of what must be the same instead of what the step receives, for example `input.digest` or `input.value.url`: here `input` is what the step receives, as a map of `digest`, `contentType`, `size` and `value`. Absent: all of it must be the same, received metadata too.
   */
  readonly key?: string;
}
/**
 * How long to wait before a retry.
 */
export interface StepBackoffSpec {
  /**
   * The wait before the first retry, a duration such as `100ms`.
   */
  readonly initial?: string;
  /**
   * By how much each wait is longer than the one before, from 1 to 10.
   */
  readonly factor?: number;
  /**
   * The longest wait, a duration such as `10s`.
   */
  readonly max?: string;
  /**
   * How far a wait may stray from its value at random, either way, in percent, from 0 to 100.
   */
  readonly jitterPercent?: number;
}
/**
 * When a failed attempt is followed by another. Absent fields: as the Processor says.
 */
export interface StepRetrySpec {
  /**
   * Retries after the first attempt, from 0 to 10.
   */
  readonly limit?: number;
  readonly backoff?: StepBackoffSpec;
  /**
   * The error codes that are worth another attempt. A failure that the processor declared itself is retried when the processor says that it is retryable.
   *
   * Items: A code of the closed set of errors.
   */
  readonly codes?: readonly (
    | "InvalidInput"
    | "NotFound"
    | "PayloadTooLarge"
    | "Unavailable"
    | "DeadlineExceeded"
    | "ResourceExhausted"
    | "SandboxViolation"
    | "ProcessorFailed"
    | "ProcessorCrashed"
    | "PayloadLost"
    | "Internal"
  )[];
}
/**
 * One place in the graph: the work of a Processor, or of another Pipeline. Exactly one of `processor` and `pipeline` says which.
 */
export interface StepSpec {
  /**
   * The step's name, unique in its Pipeline: a DNS label (lower-case letters, digits and hyphens, at most 63 characters). With a hyphen in it, expressions say `steps['html-to-text'].output`; the dot would be a subtraction.
   */
  readonly name: string;
  /**
   * The name of the Processor, in the same namespace, that does the step's work.
   */
  readonly processor?: string;
  /**
   * The name of another Pipeline, in the same namespace, whose steps take this step's place; their rows are called `STEP/INNER`, and the step's output is that Pipeline's. With it only `name`, `dependsOn`, `when`, `input` and `parameters` may be set.
   */
  readonly pipeline?: string;
  /**
   * Values for the parameters of the Pipeline named in `pipeline`, at most 64.
   */
  readonly parameters?: readonly StepParameter[];
  /**
   * The steps that must have ended before this one starts, at most 64. Without any, the step receives the Execution's input and starts at once.
   *
   * Items: The name of another step of this Pipeline.
   */
  readonly dependsOn?: readonly string[];
  /**
   * Options for the processor, merged over the Processor's own, key by key. At most 4 KiB as JSON, after the merge.
   */
  readonly options?: Readonly<Record<string, Json>>;
  /**
   * A CEL expression that gives a map of options, merged over `options` when the step starts, for example `{'lang': parameters.language}`. It sees what `input` sees. What comes out is checked against the Processor's optionsSchema.
   */
  readonly optionsExpression?: string;
  /**
   * A CEL expression of a list, for example `steps.clean.output.pages`: the step runs once for each item, at most 10,000, and its output is the list of their outputs in order. Each run receives its item, or what `input` gives; `input`, `optionsExpression` and `cache.key` see `item` and `index`. Retries, timeout and cache are each item's own.
   */
  readonly forEach?: string;
  /**
   * How many items of forEach run at once, from 1 to 1000, within the Pipeline's maxParallelSteps. Absent: as many as that allows.
   */
  readonly maxParallel?: number;
  /**
   * A CEL expression: what the step receives, for example `{'words': steps.count.output, 'lang': parameters.language}`. It sees `input`, `parameters`, `steps` (ancestors only) and `execution`. Absent: the payload of the only dependency, or the Execution's input; with several payloads among its dependencies it is required. With forEach it also sees `item` and `index`, and absent means the item.
   */
  readonly input?: string;
  /**
   * A CEL expression of type bool, for example `size(steps.clean.output) > 0`; false skips the step, all items of a forEach at once. Absent: the step runs.
   */
  readonly when?: string;
  /**
   * How long one attempt may take, wall clock, as a duration such as `30s` or `1m30s`, at most 576h. Absent: as the Processor says.
   */
  readonly timeout?: string;
  /**
   * Ignore: a failure of the step does not fail the run; its dependents run, and its output is null, with forEach null in place of each failed item. Absent: the Pipeline's failurePolicy decides.
   */
  readonly onFailure?: "Ignore";
  readonly cache?: CacheSpec;
  readonly retry?: StepRetrySpec;
}
/**
 * A step like those of the graph, of a Processor and without cache.
 */
export interface FinallyStepSpec {
  /**
   * The step's name, unique in its Pipeline, among the steps of the graph too: a DNS label (lower-case letters, digits and hyphens, at most 63 characters). With a hyphen in it, expressions say `steps['html-to-text'].output`; the dot would be a subtraction.
   */
  readonly name: string;
  /**
   * The name of the Processor, in the same namespace, that does the step's work.
   */
  readonly processor: string;
  /**
   * The steps of finally that must have ended before this one starts, at most 32. All steps of the graph have.
   *
   * Items: The name of another step of finally.
   */
  readonly dependsOn?: readonly string[];
  /**
   * Options for the processor, merged over the Processor's own, key by key. At most 4 KiB as JSON, after the merge.
   */
  readonly options?: Readonly<Record<string, Json>>;
  /**
   * A CEL expression that gives a map of options, merged over `options` when the step starts, for example `{'lang': parameters.language}`. It sees what `input` sees. What comes out is checked against the Processor's optionsSchema.
   */
  readonly optionsExpression?: string;
  /**
   * A CEL expression of a list, for example `steps.clean.output.uploads`: the step runs once for each item, at most 10,000, and its output is the list of their outputs in order. Each run receives its item, or what `input` gives; `input` and `optionsExpression` see `item` and `index`. Retries and timeout are each item's own.
   */
  readonly forEach?: string;
  /**
   * How many items of forEach run at once, from 1 to 1000, within the Pipeline's maxParallelSteps. Absent: as many as that allows.
   */
  readonly maxParallel?: number;
  /**
   * A CEL expression: what the step receives, for example `{'words': steps.count.output, 'lang': parameters.language}`. It sees `input`, `parameters`, `steps` (all of the graph, and ancestors in finally) and `execution`. Absent: the payload of the only dependency, or the Execution's input; with several payloads among its dependencies it is required. With forEach it also sees `item` and `index`, and absent means the item.
   */
  readonly input?: string;
  /**
   * A CEL expression of type bool, for example `execution.state == 'Failed'`; false skips the step, all items of a forEach at once. Absent: the step runs.
   */
  readonly when?: string;
  /**
   * How long one attempt may take, wall clock, as a duration such as `30s` or `1m30s`, at most 576h. Absent: as the Processor says.
   */
  readonly timeout?: string;
  /**
   * Ignore: a failure of the step does not fail the run; its dependents run, and its output is null, with forEach null in place of each failed item. Absent: a failure fails the run.
   */
  readonly onFailure?: "Ignore";
  readonly retry?: StepRetrySpec;
}
/**
 * One named output.
 */
export interface NamedOutput {
  /**
   * The output's name: a letter or '_', then letters, digits, '_' and '-'.
   */
  readonly name: string;
  /**
   * A CEL expression of its value. It sees what `output` sees: `input`, `parameters`, `steps` (all of the graph) and `execution`.
   */
  readonly value: string;
}
/**
 * How many Executions of this Pipeline run at once, and what becomes of one more. Absent: no limit of its own.
 */
export interface ConcurrencySpec {
  /**
   * How many run at once, from 1 to 10000. Suspended ones do not count.
   */
  readonly limit: number;
  /**
   * What becomes of one more. Queue (default): it waits, phase Queued, until one has ended; those of higher priority first. Forbid: it fails with reason ConcurrencyForbidden. Replace: the oldest is cancelled with reason Replaced.
   */
  readonly policy: "Queue" | "Forbid" | "Replace";
  /**
   * How long an Execution may wait in the queue, as a duration such as `1h`, at most 576h; then it fails with reason QueueTimeout. Only with policy Queue. Absent: as long as it takes.
   */
  readonly queueTimeout?: string;
}
/**
 * How many finished Executions of this Pipeline are kept; older ones are deleted.
 */
export interface HistoryLimitSpec {
  /**
   * How many that succeeded, from 0 to 100000. Absent: all.
   */
  readonly succeeded?: number;
  /**
   * How many that failed or were cancelled, from 0 to 100000. Absent: all.
   */
  readonly failed?: number;
}
/**
 * The graph and how its runs behave.
 */
export interface PipelineSpec {
  /**
   * In which order steps that are ready start when not all can; results are the same. WorkQueue (default): those on the longest path to the end first. LevelByLevel: level after level of the graph. Reactive: what became ready last first, so that data flows on. Hybrid: the backends (Local, RPC, WASM) take turns, so that none holds all places.
   */
  readonly strategy: "WorkQueue" | "LevelByLevel" | "Reactive" | "Hybrid";
  /**
   * What a failed step means for the others. Continue (default): its dependents are skipped, independent branches finish. FailFast: nothing new starts, running steps are aborted. BestEffort: as Continue, and the run succeeds if its output and its named outputs were produced.
   */
  readonly failurePolicy: "Continue" | "FailFast" | "BestEffort";
  /**
   * Steps of one Execution that run at once, from 1 to 1000; 16 unless said otherwise.
   */
  readonly maxParallelSteps: number;
  /**
   * How long the whole run may take, as a duration such as `5m`, at most 576h; queued and suspended time is left out, and so is `finally`, which has `finallyTimeout`. Absent: no limit.
   */
  readonly timeout?: string;
  /**
   * Values that each Execution may give, at most 64. In expressions: `parameters.NAME`.
   */
  readonly parameters?: readonly ParameterSpec[];
  readonly input: InputSpec;
  /**
   * The steps of the graph, from 1 to 1,000, in any order: `dependsOn` alone says what comes before what.
   */
  readonly steps: readonly StepSpec[];
  /**
   * Steps that run when all others have ended, after success, failure, timeout and a Graceful cancellation, not after an Immediate one; at most 32. They see all steps of the graph and `execution.state` (Succeeded, Failed or Cancelled). One that fails makes the run fail.
   */
  readonly finally?: readonly FinallyStepSpec[];
  /**
   * How long all of `finally` may take, as a duration such as `1m`: 1m unless said otherwise, at most 576h.
   */
  readonly finallyTimeout: string;
  /**
   * A CEL expression: the output of the run, for example `steps.report.output`. Absent: the output of the only step on which no other depends; with several such steps it is required.
   */
  readonly output?: string;
  /**
   * Further outputs of the run by name, at most 64, for example `[{name: top, value: steps.count.metadata.words}]`.
   */
  readonly outputs?: readonly NamedOutput[];
  readonly concurrency?: ConcurrencySpec;
  /**
   * After how many seconds its finished Executions are deleted, unless they say otherwise; 0 to 31536000 (a year). Absent: never.
   */
  readonly ttlSecondsAfterFinished?: number;
  readonly historyLimit?: HistoryLimitSpec;
}
/**
 * The shape of the graph.
 */
export interface GraphStatus {
  /**
   * How many steps it has.
   */
  readonly steps?: number;
  /**
   * How many steps its longest chain has.
   */
  readonly levels?: number;
  /**
   * The most steps on one level, which could run at once.
   */
  readonly width?: number;
}
/**
 * Its unfinished Executions, counted at most every ten seconds; totals over time are metrics.
 */
export interface ExecutionCounts {
  /**
   * How many wait for a place.
   */
  readonly queued: number;
  /**
   * How many run.
   */
  readonly running: number;
}
/**
 * What the controller found. Written by the controller alone.
 */
export interface PipelineStatus {
  /**
   * The metadata.generation that this status speaks of.
   */
  readonly observedGeneration?: number;
  /**
   * Ready: Executions can run. Reconciling: the controller is at work on a new generation. Stalled: the Pipeline is refused, and the message names the field and the mend.
   */
  readonly conditions?: readonly Condition[];
  readonly graph?: GraphStatus;
  readonly executions?: ExecutionCounts;
}
/**
 * A Pipeline is a graph of steps, each the work of a Processor. It says what depends on what and what each step receives, and knows nothing of how the Processors run. An Execution runs it.
 */
export interface Pipeline extends KubernetesObject {
  readonly apiVersion: "millrace.dev/v1alpha1";
  readonly kind: "Pipeline";
  readonly metadata: ObjectMeta;
  readonly spec: PipelineSpec;
  readonly status?: PipelineStatus;
}
/**
 * A Pipeline's spec inline, of at most 100 steps, for a run that needs no Pipeline of its own.
 */
export interface InlinePipelineSpec {
  /**
   * In which order steps that are ready start when not all can; results are the same. WorkQueue (default): those on the longest path to the end first. LevelByLevel: level after level of the graph. Reactive: what became ready last first, so that data flows on. Hybrid: the backends (Local, RPC, WASM) take turns, so that none holds all places.
   */
  readonly strategy: "WorkQueue" | "LevelByLevel" | "Reactive" | "Hybrid";
  /**
   * What a failed step means for the others. Continue (default): its dependents are skipped, independent branches finish. FailFast: nothing new starts, running steps are aborted. BestEffort: as Continue, and the run succeeds if its output and its named outputs were produced.
   */
  readonly failurePolicy: "Continue" | "FailFast" | "BestEffort";
  /**
   * Steps of one Execution that run at once, from 1 to 1000; 16 unless said otherwise.
   */
  readonly maxParallelSteps: number;
  /**
   * How long the whole run may take, as a duration such as `5m`, at most 576h; queued and suspended time is left out, and so is `finally`, which has `finallyTimeout`. Absent: no limit.
   */
  readonly timeout?: string;
  /**
   * Values that each Execution may give, at most 64. In expressions: `parameters.NAME`.
   */
  readonly parameters?: readonly ParameterSpec[];
  readonly input: InputSpec;
  /**
   * The steps of the graph, from 1 to 100, in any order: `dependsOn` alone says what comes before what.
   */
  readonly steps: readonly StepSpec[];
  /**
   * Steps that run when all others have ended, after success, failure, timeout and a Graceful cancellation, not after an Immediate one; at most 32. They see all steps of the graph and `execution.state` (Succeeded, Failed or Cancelled). One that fails makes the run fail.
   */
  readonly finally?: readonly FinallyStepSpec[];
  /**
   * How long all of `finally` may take, as a duration such as `1m`: 1m unless said otherwise, at most 576h.
   */
  readonly finallyTimeout: string;
  /**
   * A CEL expression: the output of the run, for example `steps.report.output`. Absent: the output of the only step on which no other depends; with several such steps it is required.
   */
  readonly output?: string;
  /**
   * Further outputs of the run by name, at most 64, for example `[{name: top, value: steps.count.metadata.words}]`.
   */
  readonly outputs?: readonly NamedOutput[];
}
/**
 * One parameter's value.
 */
export interface ParameterValue {
  /**
   * The parameter's name.
   */
  readonly name: string;
  /**
   * Its value, any JSON, null too.
   */
  readonly value: Json;
}
/**
 * Content that is in the payload store of this namespace already, for input above 256 KiB.
 */
export interface PayloadInput {
  /**
   * The sha256 of the content, as `sha256:` and 64 lower-case hexadecimal digits: its name in the payload store.
   */
  readonly ref: string;
  /**
   * Its media type, application/octet-stream unless said otherwise; `application/json` makes it a value in expressions, `text/plain; charset=utf-8` a text.
   */
  readonly contentType: string;
}
/**
 * What the steps without dependencies receive: exactly one of `json`, `text`, `base64`, `configMapKeyRef` and `payload`, in the object at most 256 KiB. Absent: JSON null.
 */
export interface ExecutionInput {
  /**
   * Any JSON (application/json).
   */
  readonly json?: Json;
  /**
   * A text (text/plain; charset=utf-8).
   */
  readonly text?: string;
  /**
   * Bytes in Base64 (application/octet-stream).
   */
  readonly base64?: string;
  readonly configMapKeyRef?: ConfigMapKeyRef;
  readonly payload?: PayloadInput;
}
/**
 * A finished run of the same Pipeline whose succeeded steps are taken over instead of run again, where the Pipeline, the Processors and what a step receives are the same.
 */
export interface RetryFromSpec {
  /**
   * The name of that Execution, in the same namespace.
   */
  readonly execution: string;
}
/**
 * What to run, with what. Only `suspend`, `cancel` and `ttlSecondsAfterFinished` can be changed later.
 */
export interface ExecutionSpec {
  /**
   * The name of the Pipeline, in the same namespace, that is run. The Execution keeps the revision it started with.
   */
  readonly pipeline?: string;
  readonly pipelineSpec?: InlinePipelineSpec;
  /**
   * Values for the Pipeline's parameters, at most 64.
   */
  readonly parameters?: readonly ParameterValue[];
  readonly input?: ExecutionInput;
  /**
   * Which of the Executions that wait for a place starts first: the one of the highest priority, then the oldest. From -1000000 to 1000000; 0 unless said otherwise.
   */
  readonly priority: number;
  /**
   * true pauses the run between steps: nothing new starts, running steps finish, and its place goes to others. false (default) lets it go on where it was. Can be changed at any time.
   */
  readonly suspend: boolean;
  /**
   * None (default), Graceful: nothing new starts, running steps finish and `finally` runs, or Immediate: running steps are aborted. It can be changed forward only; a cancellation cannot be taken back.
   */
  readonly cancel: "None" | "Graceful" | "Immediate";
  readonly retryFrom?: RetryFromSpec;
  /**
   * After how many seconds the finished Execution is deleted; 0 to 31536000 (a year). Absent: as its Pipeline says, else never.
   */
  readonly ttlSecondsAfterFinished?: number;
}
/**
 * How long the run has been running, queued and suspended time left out; the Pipeline's timeout counts only this.
 */
export interface ActiveTime {
  /**
   * How long it was running before `since`, in milliseconds.
   */
  readonly beforeMs: number;
  /**
   * Since when it runs now. Absent: it does not.
   */
  readonly since?: string;
}
/**
 * The replica of the controller that runs it, and how often the run changed hands.
 */
export interface ExecutionOwner {
  /**
   * The replica's name.
   */
  readonly replica: string;
  /**
   * 1 for the first owner, one more at each take-over.
   */
  readonly epoch: number;
  /**
   * Take-overs since a step was last newly recorded, absent for none; after five the run fails, reason CrashLoop.
   */
  readonly takeovers?: number;
}
/**
 * Where larger content is; `millrace output EXECUTION [STEP]` fetches it.
 */
export interface PayloadRef {
  /**
   * The sha256 of the content, as `sha256:` and 64 hexadecimal digits: its name in the payload store.
   */
  readonly ref: string;
  /**
   * Its size in bytes.
   */
  readonly bytes: number;
}
/**
 * What the step gave. One of json, text, base64 and payload.
 */
export interface PayloadRow {
  /**
   * The value, if it is JSON of at most 4 KiB.
   */
  readonly json?: Json;
  /**
   * The text, if it is text of at most 4 KiB.
   */
  readonly text?: string;
  /**
   * The bytes in Base64, if they are neither JSON nor text and at most 4 KiB.
   */
  readonly base64?: string;
  readonly payload?: PayloadRef;
  /**
   * Its media type.
   */
  readonly contentType?: string;
}
/**
 * Why the step failed.
 */
export interface StepRowError {
  /**
   * What went wrong, of the closed set of errors.
   */
  readonly code:
    | "InvalidInput"
    | "NotFound"
    | "PayloadTooLarge"
    | "Unavailable"
    | "DeadlineExceeded"
    | "ResourceExhausted"
    | "SandboxViolation"
    | "ProcessorFailed"
    | "ProcessorCrashed"
    | "PayloadLost"
    | "Interrupted"
    | "Cancelled"
    | "Internal";
  /**
   * Who has to act: User, who wrote the objects; Processor, who wrote the processor; System, who runs Millrace.
   */
  readonly kind: "User" | "Processor" | "System";
  /**
   * What went wrong, made for people; at most 1 KiB.
   */
  readonly message: string;
  /**
   * The processor's own code, where it declared the failure.
   */
  readonly processorCode?: string;
  readonly full?: PayloadRef;
}
/**
 * One failed item.
 */
export interface ItemFailure {
  /**
   * The item's place in the list, from 0.
   */
  readonly index: number;
  /**
   * What went wrong, of the closed set of errors.
   */
  readonly code:
    | "InvalidInput"
    | "NotFound"
    | "PayloadTooLarge"
    | "Unavailable"
    | "DeadlineExceeded"
    | "ResourceExhausted"
    | "SandboxViolation"
    | "ProcessorFailed"
    | "ProcessorCrashed"
    | "PayloadLost"
    | "Interrupted"
    | "Cancelled"
    | "Internal";
  /**
   * What went wrong, made for people; at most 1 KiB.
   */
  readonly message: string;
  /**
   * The processor's own code, where it declared the failure.
   */
  readonly processorCode?: string;
}
/**
 * How the items of a forEach are. Their results are in the payload store; `millrace output EXECUTION STEP` fetches them.
 */
export interface FanOutRow {
  /**
   * How many items the list has.
   */
  readonly total: number;
  /**
   * How many succeeded.
   */
  readonly succeeded: number;
  /**
   * How many failed.
   */
  readonly failed: number;
  /**
   * How many were cancelled; absent for none.
   */
  readonly cancelled?: number;
  /**
   * How many of those that succeeded took a result of the step's `cache`; absent for none.
   */
  readonly cached?: number;
  /**
   * How many of those that succeeded took a result of the run that `retryFrom` names; absent for none.
   */
  readonly reused?: number;
  /**
   * Which have ended, as ranges of indexes such as `0-811,813`.
   */
  readonly done?: string;
  readonly results?: PayloadRef;
  /**
   * A digest of the list, 32 hexadecimal digits: a run that is taken up again must find the same list.
   */
  readonly list?: string;
  /**
   * The failed items of the lowest indexes, at most 16; all are in `results`.
   */
  readonly failures?: readonly ItemFailure[];
}
/**
 * What did the work.
 */
export interface StepRowProcessor {
  /**
   * The Processor.
   */
  readonly name: string;
  /**
   * Its metadata.generation.
   */
  readonly generation?: number;
  /**
   * The digest of each module version that an attempt ran on.
   *
   * Items: A digest: `sha256:` and 64 hexadecimal digits.
   */
  readonly digests?: readonly string[];
}
/**
 * One step's state.
 */
export interface StepRow {
  /**
   * The step's name; that of a step of a nested Pipeline is `OUTER/INNER`.
   */
  readonly name: string;
  /**
   * Where the step is.
   */
  readonly state: "Waiting" | "Running" | "Retrying" | "Succeeded" | "Failed" | "Skipped" | "Cancelled";
  /**
   * Why a step was skipped or cancelled, how its failure was taken (Ignored), or where its result came from if it did not run (Cached, Reused); in CamelCase, from a closed set.
   */
  readonly reason?: string;
  /**
   * How many attempts were started.
   */
  readonly attempts?: number;
  /**
   * When the first attempt started.
   */
  readonly startTime?: string;
  /**
   * How long the step took from the start of its first attempt to its end, waits between attempts included, in milliseconds.
   */
  readonly durationMs?: number;
  /**
   * What its last attempt took, in the units of wasm.limits.fuel, also if it failed; of a fan-out its items' last attempts together. Absent: it was not metered, or needed no attempt.
   */
  readonly fuel?: number;
  readonly output?: PayloadRow;
  /**
   * What the processor said about its payload, at most 8 KiB; larger metadata is in `metadataPayload`.
   */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly metadataPayload?: PayloadRef;
  readonly error?: StepRowError;
  readonly items?: FanOutRow;
  readonly log?: PayloadRef;
  /**
   * A digest of what the step received (payload, options and metadata), 32 hexadecimal digits: retryFrom takes a result over only where it is the same.
   */
  readonly request?: string;
  readonly processor?: StepRowProcessor;
}
/**
 * One named output.
 */
export interface NamedOutputRow {
  /**
   * Its name.
   */
  readonly name: string;
  readonly value: PayloadRow;
}
/**
 * How the run goes. Written by the controller alone.
 */
export interface ExecutionStatus {
  /**
   * The metadata.generation that this status speaks of.
   */
  readonly observedGeneration?: number;
  /**
   * Where the run is, for printing and selecting; programs read the conditions.
   */
  readonly phase?: "Pending" | "Queued" | "Running" | "Suspended" | "Succeeded" | "Failed" | "Cancelled";
  /**
   * Succeeded: Unknown until the run ends, then True or False. Complete: the run ended, either way. Ready, Reconciling and Stalled: the same for programs that know kstatus only.
   */
  readonly conditions?: readonly Condition[];
  /**
   * Finished steps of all steps, such as 3/4.
   */
  readonly progress?: string;
  /**
   * When the run started.
   */
  readonly startTime?: string;
  /**
   * When the run ended.
   */
  readonly completionTime?: string;
  readonly active?: ActiveTime;
  /**
   * Since when it waits in the queue, for a place that its Pipeline's concurrency or its namespace's limit gives; queueTimeout counts from here. Absent: it does not wait there.
   */
  readonly queuedSince?: string;
  /**
   * The ControllerRevision that holds the Pipeline as it was when the run started: an edited or deleted Pipeline changes nothing for the run.
   */
  readonly pipelineRevision?: string;
  readonly owner?: ExecutionOwner;
  /**
   * A row for each step, those of nested Pipelines and of `finally` too.
   */
  readonly steps?: readonly StepRow[];
  readonly output?: PayloadRow;
  /**
   * What the run gave by name, as the Pipeline's `outputs` say.
   */
  readonly outputs?: readonly NamedOutputRow[];
}
/**
 * An Execution is one run of a Pipeline, tracked in its status.
 */
export interface Execution extends KubernetesObject {
  readonly apiVersion: "millrace.dev/v1alpha1";
  readonly kind: "Execution";
  readonly metadata: ObjectMeta;
  readonly spec: ExecutionSpec;
  readonly status?: ExecutionStatus;
}
