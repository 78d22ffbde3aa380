import type { AuthorFailure } from "../author.ts";

/** A payload or an option that the built-in refuses: a declared InvalidInput. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** What a {@link Refusal} is as a response. */
export function refused(refusal: Refusal): AuthorFailure {
  return { error: { code: "InvalidInput", message: refusal.message } };
}
