// The Direct ABI of Millrace, for AssemblyScript. The whole contract is in docs/wasm-authors.md.

@external("millrace", "content_type")
declare function hostContentType(buffer: usize, capacity: u32): u32;
@external("millrace", "options")
declare function hostOptions(buffer: usize, capacity: u32): u32;
@external("millrace", "metadata")
declare function hostMetadata(buffer: usize, capacity: u32): u32;
@external("millrace", "context")
declare function hostContext(buffer: usize, capacity: u32): u32;
@external("millrace", "metadata_value")
declare function hostMetadataValue(key: usize, keyLength: u32, buffer: usize, capacity: u32): i32;
@external("millrace", "secret")
declare function hostSecret(name: usize, nameLength: u32, buffer: usize, capacity: u32): i32;
@external("millrace", "set_content_type")
declare function hostSetContentType(type: usize, length: u32): void;
@external("millrace", "set_metadata")
declare function hostSetMetadata(key: usize, keyLength: u32, value: usize, valueLength: u32): void;
@external("millrace", "set_error")
declare function hostSetError(code: usize, codeLength: u32, message: usize, messageLength: u32, retryable: i32): void;
@external("millrace", "log")
declare function hostLog(text: usize, length: u32): void;

let answered = false;

/**
 * A call's memory is free again when the next one comes: only then has the host read the result. To be called first by the
 * entrypoint: for an empty input nothing is allocated before. No global may hold an object.
 */
export function begin(): void {
  if (answered) heap.reset();
  answered = false;
}

export function millrace_alloc(length: u32): usize {
  begin();
  return heap.alloc(length);
}

/** What the entrypoint returns. */
export function result(payload: ArrayBuffer, contentType: string): u64 {
  const type = String.UTF8.encode(contentType);
  hostSetContentType(changetype<usize>(type), type.byteLength);
  answered = true;
  return ((<u64>changetype<usize>(payload)) << 32) | payload.byteLength;
}

/** Declares that the call has failed, and is what the entrypoint then returns. */
export function fail(code: string, message: string, retryable: boolean): u64 {
  const c = String.UTF8.encode(code);
  const m = String.UTF8.encode(message);
  hostSetError(changetype<usize>(c), c.byteLength, changetype<usize>(m), m.byteLength, retryable ? 1 : 0);
  answered = true;
  return 0;
}

export function contentType(): string {
  const bytes = new ArrayBuffer(hostContentType(0, 0));
  hostContentType(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decode(bytes);
}

/** JSON. */
export function options(): string {
  const bytes = new ArrayBuffer(hostOptions(0, 0));
  hostOptions(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decode(bytes);
}

/** Of the steps before, as JSON. */
export function metadata(): string {
  const bytes = new ArrayBuffer(hostMetadata(0, 0));
  hostMetadata(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decode(bytes);
}

/** JSON. */
export function context(): string {
  const bytes = new ArrayBuffer(hostContext(0, 0));
  hostContext(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decode(bytes);
}

/** One entry of the metadata of the steps before. */
export function metadataValue(key: string): string | null {
  const k = String.UTF8.encode(key);
  const length = hostMetadataValue(changetype<usize>(k), k.byteLength, 0, 0);
  if (length < 0) return null;
  const bytes = new ArrayBuffer(length);
  hostMetadataValue(changetype<usize>(k), k.byteLength, changetype<usize>(bytes), length);
  return String.UTF8.decode(bytes);
}

/** One of the Processor's secrets. */
export function secret(name: string): string | null {
  const n = String.UTF8.encode(name);
  const length = hostSecret(changetype<usize>(n), n.byteLength, 0, 0);
  if (length < 0) return null;
  const bytes = new ArrayBuffer(length);
  hostSecret(changetype<usize>(n), n.byteLength, changetype<usize>(bytes), length);
  return String.UTF8.decode(bytes);
}

export function setMetadata(key: string, value: string): void {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  hostSetMetadata(changetype<usize>(k), k.byteLength, changetype<usize>(v), v.byteLength);
}

export function log(text: string): void {
  const t = String.UTF8.encode(text);
  hostLog(changetype<usize>(t), t.byteLength);
}
