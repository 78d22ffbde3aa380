import { type GuestCall, maxContentTypeBytes, maxNameBytes } from "../guest-call.ts";
import { maxErrorJsonBytes, maxTextsJsonBytes, readDeclaredError, readTexts } from "../guest-json.ts";

/** Where a guest's host calls go. */
const binding = "millrace";
const namespace = "call";

/** Of a host call: what was asked for, or why it is not given. */
export interface Answer {
  readonly kind: "Given" | "Refused";
  readonly text: string;
}

/** Does what is asked with the payload that lies at `pointer`. */
type Operation = (call: GuestCall, pointer: number, length: number) => Answer;

const done: Answer = { kind: "Given", text: "" };

const operations: Readonly<Record<string, Operation>> = {
  content_type: (call) => given(call.text("contentType")),
  options: (call) => given(call.text("options")),
  metadata: (call) => given(call.text("metadata")),
  context: (call) => given(call.text("context")),
  secret: (call, pointer, length) => {
    const secret = call.secret(call.memory.text(pointer, length, maxNameBytes, "a secret's name"));
    return secret === undefined ? refused("there is no secret of this name in spec.secrets") : given(secret);
  },
  config: (call, pointer, length) => {
    const value = call.config(call.memory.text(pointer, length, maxNameBytes, "a name in the configuration"));
    return value === undefined ? refused("there is no such name in spec.wasm.capabilities.config") : given(value);
  },
  set_content_type: (call, pointer, length) => {
    call.setContentType(call.memory.text(pointer, length, maxContentTypeBytes, "a content type"));
    return done;
  },
  set_metadata: (call, pointer, length) => {
    const texts = readTexts(call.memory.json(pointer, length, maxTextsJsonBytes, "metadata"));
    if (texts === undefined) return refused("the payload of set_metadata is a JSON object of texts");
    for (const [key, text] of texts) call.setMetadata(key, text);
    return done;
  },
  set_error: (call, pointer, length) => {
    const error = readDeclaredError(call.memory.json(pointer, length, maxErrorJsonBytes, "an error"));
    if (error === undefined) {
      return refused('the payload of set_error is JSON: {"code": text, "message": text, "retryable": boolean}');
    }
    call.setError(error);
    return done;
  },
  log: (call, pointer, length) => {
    call.log(call.memory.slice(pointer, length, "a text to log"));
    return done;
  },
};

/** What a guest calls. */
export interface HostCall {
  readonly binding: string;
  readonly namespace: string;
  readonly operation: string;
}

/** @throws MillraceError for what goes over a limit or lies outside of the memory */
export function answer(call: GuestCall, called: HostCall, pointer: number, length: number): Answer {
  const { operation } = called;
  const known = Object.hasOwn(operations, operation) ? operations[operation] : undefined;
  if (called.binding === binding && called.namespace === namespace && known !== undefined) {
    return known(call, pointer, length);
  }
  return refused(
    `there is no ${called.binding}.${called.namespace}.${operation}: the binding is ${binding}, the namespace ${namespace}, the operation one of ${Object.keys(operations).join(", ")}`,
  );
}

function given(text: string): Answer {
  return { kind: "Given", text };
}

function refused(why: string): Answer {
  return { kind: "Refused", text: why };
}
