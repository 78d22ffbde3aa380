/** Whether a signature is what is looked for; `why` as the end of a sentence that begins with the signature. */
export type Verdict = { readonly valid: true } | { readonly valid: false; readonly why: string };

export const valid: Verdict = { valid: true };

export function invalid(why: string): Verdict {
  return { valid: false, why };
}
