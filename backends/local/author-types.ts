/** What a TypeScript author of ES modules imports from `millrace/author`: types only, nothing is there at run time. */
export type { Metadata } from "../../engine/metadata.ts";
export type { Json, JsonObject } from "../../engine/payload.ts";
export type { ExecutionIdentity } from "../../engine/processor.ts";
export type {
  AuthorContext,
  AuthorFailure,
  AuthorProcess,
  AuthorRequest,
  AuthorResponse,
  AuthorResult,
} from "./author.ts";
