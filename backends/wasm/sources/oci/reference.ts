import { MillraceError } from "../../../../engine/errors.ts";
import { isDigest } from "./digest.ts";

/** What an image is called, with what Docker leaves out put in. */
export interface OciReference {
  /** `host[:port]` as people write it: `docker.io`, `ghcr.io`, `registry.local:5000`. */
  readonly registry: string;
  /** `library/words` where Docker Hub's reference is `words`. */
  readonly repository: string;
  /** `latest` where neither a tag nor a digest is written. */
  readonly tag?: string;
  /** Wins over the tag, which then only tells people something. */
  readonly digest?: string;
}

const field = "spec.wasm.source.oci";
/** Of the whole text, and of the registry and the repository together (as Docker has it). */
const maxLength = 1024;
const maxNameLength = 255;

const label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const registryForm = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?$`);
const repositoryPart = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const tagForm = /^\w[\w.-]{0,127}$/;

/**
 * Reads a reference as Docker does: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`. The first part is a registry where it has a dot, a port
 * or a capital letter, or is `localhost`; otherwise the registry is `docker.io`.
 * @throws MillraceError InvalidInput
 */
export function parseReference(text: string): OciReference {
  if (text.length > maxLength) throw malformed(text, `it is longer than ${maxLength} characters`);
  if (text.includes("://")) throw malformed(text, "it has a scheme; leave that out");
  const [named = "", digest, ...more] = text.split("@");
  if (more.length > 0) throw malformed(text, "it has more than one @");
  if (digest !== undefined && !isDigest(digest)) throw malformed(text, "after the @ belongs sha256: and 64 hex digits");
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagForm.test(tag)) {
    throw malformed(text, "a tag has 1 to 128 letters, digits, dots, dashes and underscores, no dot or dash first");
  }
  const { registry, repository } = parseName(text, colon < 0 ? named : named.slice(0, colon));
  if (digest !== undefined) return { registry, repository, ...(tag === undefined ? {} : { tag }), digest };
  return { registry, repository, tag: tag ?? "latest" };
}

/** `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, with nothing left out. */
export function formatReference({ registry, repository, tag, digest }: OciReference): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** Where the registry's API is: Docker Hub's has another host than its name. */
export function apiHostOf({ registry }: OciReference): string {
  return registry === "docker.io" ? "registry-1.docker.io" : registry;
}

function parseName(text: string, name: string): Pick<OciReference, "registry" | "repository"> {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isRegistry = /[.:[A-Z]/.test(first) || first === "localhost";
  const written = isRegistry ? first : "docker.io";
  if (!registryForm.test(written)) throw malformed(text, `${JSON.stringify(written)} is no HOST[:PORT]`);
  const registry = written.toLowerCase() === "index.docker.io" ? "docker.io" : written.toLowerCase();
  const path = isRegistry ? name.slice(slash + 1) : name;
  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  if (registry.length + 1 + repository.length > maxNameLength) {
    throw malformed(text, `registry and repository together are longer than ${maxNameLength} characters`);
  }
  if (!repository.split("/").every((part) => repositoryPart.test(part))) {
    throw malformed(
      text,
      `the repository ${JSON.stringify(path)} may have lower-case letters and digits, between them . _ __ or dashes, in parts divided by /`,
    );
  }
  return { registry, repository };
}

function malformed(text: string, why: string): MillraceError {
  const shown = JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text);
  return new MillraceError(
    "InvalidInput",
    `${field}: ${shown} is no OCI reference: ${why}. Write [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST], for example ghcr.io/acme/words:1.2.`,
  );
}
