import type { ApiStatus, KubernetesObject, ListPage, Resource, WatchEvent } from "../api/client.ts";
import { statusFromObject } from "./api-errors.ts";

interface RawMeta {
  managedFields?: unknown;
  resourceVersion?: string;
  continue?: string;
}

type RawObject = { apiVersion?: string; kind?: string; metadata?: RawMeta; items?: RawObject[] };

/** An object as the server sent it, but for its managedFields: nobody here reads them, and they can outweigh the rest. */
export function rawObject(body: string): KubernetesObject {
  return stripped(JSON.parse(body) as RawObject);
}

/** The items of built-in kinds come without apiVersion and kind: they are put back. */
export function rawList(resource: Resource, body: string): ListPage {
  const list = JSON.parse(body) as RawObject;
  const apiVersion = resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
  const items = (list.items ?? []).map((item) => {
    item.apiVersion ??= apiVersion;
    item.kind ??= resource.kind;
    return stripped(item);
  });
  const next = list.metadata?.continue;
  return { items, resourceVersion: list.metadata?.resourceVersion ?? "", ...(next ? { continue: next } : {}) };
}

/** One line of a watch; what is no event becomes an ERROR. */
export function decodeWatchLine(line: string): WatchEvent {
  const { type, object } = JSON.parse(line) as { type: string; object: RawObject };
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return { type, object: stripped(object) };
    case "BOOKMARK":
      return { type, resourceVersion: object.metadata?.resourceVersion ?? "" };
    default:
      return { type: "ERROR", status: statusFromObject(object) ?? unknownEvent(type) };
  }
}

function unknownEvent(type: string): ApiStatus {
  return { code: 500, reason: "Unknown", message: `the API server sent a watch event of unknown type ${type}` };
}

function stripped(object: RawObject): KubernetesObject {
  if (object.metadata) delete object.metadata.managedFields;
  return object as KubernetesObject;
}
