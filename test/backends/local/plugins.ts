import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { LocalModule } from "../../../backends/backend.ts";
import type { Caller } from "../../../backends/call.ts";
import { createLocalBackend, type LocalBackendOptions } from "../../../backends/local/backend.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { callerOf, never, specOf } from "../support.ts";

/** A plugins directory of its own, and a Local backend on it; both go when it is disposed. */
export class Plugins implements AsyncDisposable {
  readonly root: string;
  readonly dir: string;
  readonly backend: ReturnType<typeof createLocalBackend>;

  static async create(options: Partial<LocalBackendOptions> = {}): Promise<Plugins> {
    const root = await mkdtemp(join(tmpdir(), "millrace-plugins-"));
    await mkdir(join(root, "plugins"));
    return new Plugins(root, options);
  }

  private constructor(root: string, options: Partial<LocalBackendOptions>) {
    this.root = root;
    this.dir = join(root, "plugins");
    this.backend = createLocalBackend({
      version: "1.0.0",
      ports: systemPorts,
      pluginsDir: this.dir,
      maxWorkers: 3,
      ...options,
    });
  }

  /** Writes a file; `path` is relative to the plugins directory. */
  async write(path: string, source: string): Promise<void> {
    const file = join(this.dir, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, source);
  }

  /** Writes a module, loads it and wraps it as everything is called. */
  async caller(source: string, changes: Partial<LocalModule> = {}): Promise<Caller> {
    const module = moduleOf(changes);
    await this.write(module.file, source);
    return callerOf(await this.backend.load(specOf(module), never));
  }

  get workers(): number {
    return this.backend.pools?.().get("local-workers")?.size ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.backend[Symbol.asyncDispose]();
    await rm(this.root, { recursive: true, force: true });
  }
}

export function moduleOf(changes: Partial<LocalModule> = {}): LocalModule {
  return { kind: "Module", file: "subject.mjs", export: "process", isolation: "Thread", ...changes };
}
