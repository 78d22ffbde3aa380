import { maxContentTypeBytes } from "../guest-call.ts";
import { maxErrorJsonBytes, maxTextsJsonBytes, readDeclaredError, readTexts } from "../guest-json.ts";
import { brokenRule } from "../refusals.ts";
import type { ExtismCall } from "./extism-call.ts";
import type { KernelNumber } from "./kernel.ts";

// Extism's PDKs know an input, an output and an error's text. What else a call is told, and what else it says, goes by names that begin
// with "millrace.": of `config` what it is told, of variables what it says.

/** Begins the names that are not the author's to choose. */
export const reservedName = "millrace.";

const secretName = "millrace.secret.";

type Told = (call: ExtismCall) => string;

const told: Readonly<Record<string, Told>> = {
  "millrace.content_type": (call) => call.text("contentType"),
  "millrace.options": (call) => call.text("options"),
  "millrace.metadata": (call) => call.text("metadata"),
  "millrace.context": (call) => call.text("context"),
};

/** What a call is told under a name; undefined when there is nothing. */
export function configValue(call: ExtismCall, name: string): string | undefined {
  if (name.startsWith(secretName)) return call.secret(name.slice(secretName.length));
  if (name.startsWith(reservedName)) return Object.hasOwn(told, name) ? told[name]?.(call) : undefined;
  return call.config(name);
}

type Say = (call: ExtismCall, name: string, value: KernelNumber) => void;

const says: Readonly<Record<string, Say>> = {
  "millrace.content_type": (call, name, value) => call.setContentType(call.textAt(value, maxContentTypeBytes, name)),
  "millrace.metadata": sayMetadata,
  "millrace.error": sayError,
};

/**
 * Takes what the guest says of its result by a variable of a reserved name; the last word counts, and none is taken back.
 * @throws ProcessorCrashed when it is not of the form that the name demands, or there is no such name
 */
export function say(call: ExtismCall, name: string, value: KernelNumber): void {
  const known = Object.hasOwn(says, name) ? says[name] : undefined;
  if (known === undefined) {
    throw brokenRule(
      call.abi,
      `it set the variable ${JSON.stringify(name)}; of those that begin with "${reservedName}" there are ${Object.keys(says).join(", ")}`,
    );
  }
  if (value !== 0n) known(call, name, value);
}

function sayMetadata(call: ExtismCall, name: string, value: KernelNumber): void {
  const texts = readTexts(call.jsonAt(value, maxTextsJsonBytes, name));
  if (texts === undefined) throw brokenRule(call.abi, `${name} is no JSON object of texts`);
  for (const [key, text] of texts) call.setMetadata(key, text);
}

function sayError(call: ExtismCall, name: string, value: KernelNumber): void {
  const error = readDeclaredError(call.jsonAt(value, maxErrorJsonBytes, name));
  if (error === undefined) {
    throw brokenRule(
      call.abi,
      `${name} is not of the form {"code": text, "message": text, "retryable": true or false}`,
    );
  }
  call.setError(error);
}
