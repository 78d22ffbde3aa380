import { LRUCache } from "lru-cache";
import type { Clock } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { ResolvedSource, WasmPullPolicy } from "../../backend.ts";
import { Flights } from "../../flights.ts";
import { SourceRefusal } from "../../source-refusal.ts";
import { digestOf } from "../sources/digest.ts";
import type { RemoteSource, Resolution } from "../sources/source.ts";
import type { DiskCache } from "./disk-cache.ts";
import type { ReferenceRecord, References } from "./references.ts";
import type { SignatureCheck } from "./signature-check.ts";

/** A module as one Processor wants it. */
export interface RemoteRequest {
  readonly namespace: string;
  readonly processor: string;
  readonly source: RemoteSource;
  /** Absent: by whether what the source names is expected to change. */
  readonly policy: WasmPullPolicy | undefined;
  /** The digest that it must have. */
  readonly pin: string | undefined;
  /** The public keys of which one must have signed it. */
  readonly key: SignatureCheck | undefined;
  /** Whether a module of this digest is at hand without its bytes. */
  isAtHand(digest: string): boolean;
  /** Keeps the module of this digest on disk until the load has ended: told before it is read or written there. */
  hold(digest: string): void;
}

/** A module that its namespace may have. */
export interface FoundModule {
  readonly digest: string;
  /** Absent: it is at hand without them. */
  readonly bytes?: Uint8Array;
  /** The manifest that an OCI reference named. */
  readonly reference?: string;
}

/** What {@link RemoteModules} are given. */
export interface RemoteModulesOptions {
  readonly references: References;
  /** Absent: there is none. */
  readonly disk: DiskCache | undefined;
  readonly clock: Clock;
}

/** How long an answer of a source may be used by the load that it was asked for. */
const resolutionMs = 600_000;
/** How often a source is asked what it names now, where that is asked each time. */
const checkAgainMs = 60_000;
/**
 * How old an answer may be that is given to another Processor too. Less than the wait for the next question, whose jitter is a fifth: who
 * asked last asks really.
 */
const sharedMs = 45_000;
const maxAnswers = 4_096;
const maxFingerprints = 8;

interface Answer {
  readonly resolution: Resolution;
  /** On the monotonic clock. */
  readonly atMs: number;
}

interface Pending {
  readonly resolution: Resolution;
  readonly credentials: string;
  readonly untilMs: number;
}

/**
 * Modules from behind the network: by pull policy out of the cache, or fetched, checked, and kept. A cached module is given to a namespace only when
 * its own credentials were answered for this very reference.
 */
export class RemoteModules implements AsyncDisposable {
  readonly #options: RemoteModulesOptions;
  readonly #fetches = new Flights<ReferenceRecord & { readonly bytes: Uint8Array }>();
  readonly #questions = new Flights<Resolution>();
  /** The last one to each question. */
  readonly #answers = new LRUCache<string, Answer>({ max: maxAnswers });
  /** What `resolve` found, for the `load` that follows; by Processor and reference. */
  readonly #pending = new Map<string, Pending>();

  constructor(options: RemoteModulesOptions) {
    this.#options = options;
  }

  /**
   * What the next {@link take} takes. As often as a source is asked, it is asked once for all of a namespace who ask by the same credentials.
   * @param before absent: it is asked now
   */
  async resolve(request: RemoteRequest, signal: AbortSignal, before?: ResolvedSource): Promise<ResolvedSource> {
    if (policyOf(request) !== "Always") return { version: request.source.reference };
    const answer = before && this.#answers.get(questionKey(request));
    const ageMs = answer === undefined ? sharedMs : this.#options.clock.monotonic() - answer.atMs;
    if (answer !== undefined && ageMs < sharedMs) {
      this.#expect(request, answer.resolution);
      return { version: answer.resolution.version, checkAgainMs: checkAgainMs - ageMs };
    }
    const resolution = await this.#ask(request, await this.#known(request), signal);
    this.#expect(request, resolution);
    return { version: resolution.version, checkAgainMs };
  }

  /** @throws what the source throws; NotFound under `Never`; InvalidInput for another digest than the pin; SandboxViolation for want of a signature */
  async take(request: RemoteRequest, signal: AbortSignal): Promise<FoundModule> {
    const known = await this.#known(request);
    const policy = policyOf(request);
    const isPinned = known !== undefined && known.digest === request.pin;
    if (policy !== "Always" || isPinned) {
      const cached = await this.#cached(request, known, signal);
      if (cached !== undefined) return cached;
      if (policy === "Never") throw absent(request);
    }
    const asked = await this.#askOnce(request, known, signal);
    const cached = await this.#cached(request, recordOf(known, asked), signal);
    if (cached !== undefined) return cached;
    const fetched = await this.#fetch(request, asked, signal);
    return found(fetched, fetched.bytes);
  }

  /** Gives up what is being fetched. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new MillraceError("Unavailable", "the WASM backend was closed");
    await Promise.all([this.#fetches.abort(closed), this.#questions.abort(closed)]);
    this.#pending.clear();
  }

  /** What this namespace was told of the reference before, when it asked by the same credentials. */
  async #known({ namespace, source }: RemoteRequest): Promise<ReferenceRecord | undefined> {
    const record = await this.#options.references.get({ namespace, reference: source.reference });
    return record?.credentials === source.credentials ? record : undefined;
  }

  /** The module out of the cache, if what is known of the reference is what is wanted. */
  async #cached(
    request: RemoteRequest,
    record: ReferenceRecord | undefined,
    signal: AbortSignal,
  ): Promise<FoundModule | undefined> {
    if (record === undefined) return undefined;
    // The reference may name what is pinned by now: it is asked again.
    if (request.pin !== undefined && request.pin !== record.digest) return undefined;
    request.hold(record.digest);
    const isVerified = isVerifiedBy(request.key, record);
    if (isVerified && request.isAtHand(record.digest) && (await this.#isKept(request, record.digest))) {
      await this.#options.references.set(record);
      return found(record);
    }
    const bytes = await this.#options.disk?.read(record.digest);
    if (bytes === undefined || (!isVerified && policyOf(request) === "Never")) return undefined;
    await this.#accept(request, record, bytes, signal);
    return found(record, bytes);
  }

  /** What is in memory alone would be gone with the next restart: unless it may not be fetched, it is, to be kept. */
  async #isKept(request: RemoteRequest, digest: string): Promise<boolean> {
    const { disk } = this.#options;
    return disk === undefined || policyOf(request) === "Never" || (await disk.has(digest));
  }

  /** The module's bytes, fetched once for all of a namespace who want it at the same time. */
  async #fetch(
    request: RemoteRequest,
    resolution: Resolution,
    signal: AbortSignal,
  ): Promise<ReferenceRecord & { readonly bytes: Uint8Array }> {
    const { namespace, source } = request;
    const key = JSON.stringify([namespace, source.reference, source.credentials, resolution.version]);
    const fetched = await this.#fetches.join(
      key,
      async (flight) => {
        const { bytes, resolution: last } = await source.fetch(resolution, flight);
        const digest = await digestOf(bytes);
        const { reference, credentials } = source;
        return { namespace, reference, credentials, resolution: last, digest, verified: [], bytes };
      },
      signal,
    );
    const { bytes, ...record } = fetched;
    checkPin(request.pin, record.digest, source.name);
    await this.#accept(request, record, bytes, signal);
    request.hold(record.digest);
    await this.#options.disk?.write(record.digest, bytes);
    return fetched;
  }

  /** Checks its signature, where one is demanded, and remembers what the reference names. */
  async #accept(
    request: RemoteRequest,
    record: ReferenceRecord,
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const { key, source } = request;
    const { references } = this.#options;
    if (key === undefined || isVerifiedBy(key, record)) return await references.set(record);
    const signer = key.check(await source.signatures(record.resolution, signal), bytes, source.name);
    await references.set({ ...record, verified: [...record.verified, signer].slice(-maxFingerprints) });
  }

  #ask(request: RemoteRequest, known: ReferenceRecord | undefined, signal: AbortSignal): Promise<Resolution> {
    const key = questionKey(request);
    const ask = async (flight: AbortSignal): Promise<Resolution> => {
      const resolution = await request.source.resolve(known?.resolution, flight);
      this.#answers.set(key, { resolution, atMs: this.#options.clock.monotonic() });
      return resolution;
    };
    return this.#questions.join(key, ask, signal);
  }

  /** What was asked for this load already is not asked again. */
  async #askOnce(request: RemoteRequest, known: ReferenceRecord | undefined, signal: AbortSignal): Promise<Resolution> {
    const key = pendingKey(request);
    const pending = this.#pending.get(key);
    this.#pending.delete(key);
    const isFresh = pending !== undefined && this.#options.clock.monotonic() < pending.untilMs;
    if (isFresh && pending.credentials === request.source.credentials) return pending.resolution;
    return await this.#ask(request, known, signal);
  }

  #expect(request: RemoteRequest, resolution: Resolution): void {
    const nowMs = this.#options.clock.monotonic();
    for (const [key, { untilMs }] of this.#pending) if (untilMs <= nowMs) this.#pending.delete(key);
    const { credentials } = request.source;
    this.#pending.set(pendingKey(request), { resolution, credentials, untilMs: nowMs + resolutionMs });
  }
}

/** Also where the key that signed it is one of several: taken out of them, it vouches for nothing any more. */
function isVerifiedBy(key: SignatureCheck | undefined, { verified }: ReferenceRecord): boolean {
  return key === undefined || key.fingerprints.some((fingerprint) => verified.includes(fingerprint));
}

/** @throws InvalidInput */
export function checkPin(pin: string | undefined, digest: string, source: string): void {
  if (pin === undefined || pin === digest) return;
  throw new MillraceError(
    "InvalidInput",
    `The WASM module of ${source} has the digest ${digest}, but spec.wasm.digest pins ${pin}. Pin the new one if the change is meant.`,
  );
}

function policyOf({ policy, source }: RemoteRequest): WasmPullPolicy {
  return policy ?? (source.moves ? "Always" : "IfNotPresent");
}

/**
 * What is known of the answer without fetching anything; undefined: it has to be fetched. A source's word for a digest is taken only where
 * this namespace has had those very bytes from it: a registry of somebody's own can name the digest of another's private module.
 */
function recordOf(known: ReferenceRecord | undefined, asked: Resolution): ReferenceRecord | undefined {
  if (known === undefined || known.resolution.version === asked.version) return known;
  return known.digest === asked.digest ? { ...known, resolution: asked, verified: [] } : undefined;
}

function found(record: ReferenceRecord, bytes?: Uint8Array): FoundModule {
  const { reference } = record.resolution;
  return {
    digest: record.digest,
    ...(bytes === undefined ? {} : { bytes }),
    ...(reference === undefined ? {} : { reference }),
  };
}

function absent({ source, namespace }: RemoteRequest): MillraceError {
  return new SourceRefusal(
    "NotCached",
    `spec.wasm.pullPolicy is Never, and the cache has no module of ${source.name} that the namespace ${namespace} fetched by these credentials (and that is verified, where spec.wasm.verify asks for it). Set IfNotPresent, at least until it has been fetched once.`,
  );
}

/** Whose word an answer is taken for: what one namespace is told says nothing of what another may have. */
function questionKey({ namespace, source }: RemoteRequest): string {
  return JSON.stringify([namespace, source.reference, source.credentials]);
}

function pendingKey({ namespace, processor, source }: RemoteRequest): string {
  return JSON.stringify([namespace, processor, source.reference]);
}
