import {
  ApiError,
  type Client,
  type KubernetesObject,
  type ListOptions,
  type ObjectRef,
  type WatchEvent,
} from "../../../controller/api/client.ts";

/** An API server with the objects of one kind in namespace `team`, whose watches say what the test says. */
export class FakeServer {
  readonly objects = new Map<string, KubernetesObject>();
  readonly watched: string[] = [];
  readonly #listeners = new Map<string, (event: WatchEvent) => void>();
  readonly #kind: string;
  gets = 0;
  /** What it answers to everything. */
  refusal: ApiError | undefined;

  constructor(kind = "ConfigMap") {
    this.#kind = kind;
  }

  put(name: string, version: string, content: Record<string, unknown> = {}): void {
    const metadata = { name, namespace: "team", uid: `uid-${name}`, resourceVersion: version };
    const object = { apiVersion: "v1", kind: this.#kind, metadata, ...content };
    this.objects.set(name, object);
    this.#listeners.get(name)?.({ type: "MODIFIED", object });
  }

  remove(name: string): void {
    const object = this.objects.get(name);
    this.objects.delete(name);
    if (object !== undefined) this.#listeners.get(name)?.({ type: "DELETED", object });
  }

  get client(): Client {
    return {
      list: async (_: unknown, { fieldSelector = "" }: ListOptions) => {
        if (this.refusal !== undefined) throw this.refusal;
        const found = this.objects.get(fieldSelector.replace("metadata.name=", ""));
        return { items: found === undefined ? [] : [found], resourceVersion: "1" };
      },
      watch: (_: unknown, { fieldSelector = "" }: ListOptions, signal: AbortSignal) =>
        this.#watch(fieldSelector.replace("metadata.name=", ""), signal),
      get: async (_: unknown, { name }: ObjectRef) => {
        this.gets += 1;
        if (this.refusal !== undefined) throw this.refusal;
        const found = this.objects.get(name);
        if (found === undefined) throw new ApiError({ code: 404, reason: "NotFound", message: "not there" });
        return found;
      },
    } as unknown as Client;
  }

  async *#watch(name: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    this.watched.push(name);
    try {
      while (!signal.aborted) {
        yield await new Promise<WatchEvent>((resolve, reject) => {
          this.#listeners.set(name, resolve);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      }
    } finally {
      this.watched.splice(this.watched.indexOf(name), 1);
    }
  }
}
