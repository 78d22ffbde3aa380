import type { Metadata } from "../../../engine/metadata.ts";

/** What the reference processor (backends/conformance/README.md) is asked, whatever the protocol. */
export interface ReferenceRequest {
  readonly payload: Buffer;
  readonly contentType: string;
  readonly metadata: Metadata;
  readonly optionsJson: string;
  readonly attempt: number;
  readonly item: number | undefined;
  readonly secrets: Readonly<Record<string, string>>;
  /** Adds a line, or several, to what is sent back as the log. */
  readonly log: (text: string) => void;
}

export type ReferenceAnswer =
  | { readonly kind: "Result"; readonly payload: Buffer; readonly contentType: string; readonly metadata: Metadata }
  | { readonly kind: "Failure"; readonly code: string; readonly message: string; readonly retryable: boolean }
  /** Never answers. */
  | { readonly kind: "Slow" }
  /** Dies in mid-call. */
  | { readonly kind: "Crash" };

interface ReferenceOptions {
  readonly behaviour?: string;
  readonly failures?: number;
  readonly bytes?: number;
}

/** The reference processor's behaviours. */
export function referenceAnswer(request: ReferenceRequest): ReferenceAnswer {
  const options: ReferenceOptions = JSON.parse(request.optionsJson);
  const { payload, contentType, metadata } = request;
  const result = (more: Partial<ReferenceAnswer & { kind: "Result" }> = {}) =>
    ({ kind: "Result", payload, contentType, metadata: {}, ...more }) as const;
  switch (options.behaviour) {
    case "echo":
      return result();
    case "uppercase":
      return result({ payload: payload.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte)) as Buffer });
    case "analyze":
      return result({
        payload: Buffer.from("ignored"),
        contentType: "text/plain",
        metadata: { bytes: String(payload.byteLength), type: contentType },
      });
    case "metadata":
      return result({ metadata: { echo: metadata["up.note"] ?? "" } });
    case "options":
      return result({ payload: Buffer.from(request.optionsJson), contentType: "application/json" });
    case "secret": {
      const token = request.secrets.token ?? "";
      return result({ metadata: { length: String(Buffer.byteLength(token)), last: token.slice(-1) } });
    }
    case "item":
      return result({ metadata: { item: request.item === undefined ? "none" : String(request.item) } });
    case "log":
      request.log("first line\nsecond line");
      request.log(`the token is ${request.secrets.token}`);
      request.log("Grüße, 世界");
      return result();
    case "log-flood":
      for (let line = 0; line < 100; line += 1) request.log("x".repeat(1000));
      return result();
    case "secret-failure": {
      const { token } = request.secrets;
      request.log(`tried with ${token}`);
      return { kind: "Failure", code: "Unauthorized", message: `refused the token ${token}`, retryable: false };
    }
    case "fail":
      return { kind: "Failure", code: "Unripe", message: "the melon is not ripe", retryable: false };
    case "invalid":
      return { kind: "Failure", code: "InvalidInput", message: "a melon was expected", retryable: false };
    case "flaky":
      if (request.attempt > (options.failures ?? 0)) return result();
      return { kind: "Failure", code: "Busy", message: "try again", retryable: true };
    case "slow":
      return { kind: "Slow" };
    case "crash":
      return { kind: "Crash" };
    case "oversize":
      return result({ payload: Buffer.alloc(options.bytes ?? 0, "x"), contentType: "text/plain" });
    case "oversize-metadata":
      return result({ metadata: { big: "x".repeat(9000) } });
    default:
      return { kind: "Failure", code: "InvalidInput", message: "unknown behaviour", retryable: false };
  }
}
