import type { Clock } from "../../engine/clock.ts";
import type { LoadedProcessor } from "../backend.ts";

/** What the backend gives each processor that it loads. */
export interface RpcHost {
  readonly clock: Clock;
  /** Called once the processor has closed its connections. */
  disposed(processor: LoadedProcessor): void;
}
