import { LRUCache } from "lru-cache";
import { abiNamed } from "../abis/abis.ts";
import type { GuestAnswer, GuestHost, GuestTarget } from "../abis/guest.ts";
import { GuestModule } from "../abis/guest-module.ts";
import type { CallJob } from "./messages.ts";

/** The modules that a thread remembers, how many and by the bytes of their binaries; it is sent others again, in tens of microseconds. */
const maxModules = 64;
const maxModuleBytes = 16 * 1024 * 1024;
/** The memory of all instances that a thread keeps for the calls to come. */
const maxKeptBytes = 256 * 1024 * 1024;

/** The modules that a thread knows, each with the instance that it may keep for its next call. The least recently used go first. */
export class KeptModules {
  readonly #modules = new LRUCache<string, GuestModule>({
    max: maxModules,
    maxSize: maxModuleBytes,
    dispose: (_module, id) => this.#drop(id),
  });
  /** Those that keep an instance. */
  readonly #instances: LRUCache<string, GuestModule>;

  /** @param maxBytes of the memories of all instances that are kept; default 256 MiB */
  constructor(maxBytes: number = maxKeptBytes) {
    this.#instances = new LRUCache({ maxSize: maxBytes, dispose: (module) => module.drop() });
  }

  /** Makes the call in this thread, to its end. Undefined: the module is not known, and there is no target to know it by. */
  call({ kind, id, target, request }: CallJob, host: GuestHost): GuestAnswer | undefined {
    const module = this.#modules.get(id) ?? this.#learn(id, target);
    if (module === undefined) return undefined;
    const answer = kind === "Smoke" ? module.smoke(request, host) : module.call(request, host);
    this.#settle(id, module);
    return answer;
  }

  #learn(id: string, target: GuestTarget | undefined): GuestModule | undefined {
    if (target === undefined) return undefined;
    const module = new GuestModule(abiNamed(target.abi), target);
    // One that is larger than all may be is remembered alone.
    this.#modules.set(id, module, { size: Math.min(Math.max(1, target.bytes), maxModuleBytes) });
    return module;
  }

  /** Counts what the module keeps now. */
  #settle(id: string, module: GuestModule): void {
    const size = module.keptBytes;
    if (size > 0 && size <= this.#instances.maxSize) {
      this.#instances.set(id, module, { size });
      return;
    }
    this.#drop(id);
    module.drop();
  }

  #drop(id: string): void {
    this.#instances.delete(id);
  }
}
