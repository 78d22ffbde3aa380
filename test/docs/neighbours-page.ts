import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { parseAllDocuments } from "yaml";

const folder = "manifests/samples/neighbours";

/** Pipelines that `docs/neighbours.md` links to, as `file/name`. */
export function linkedPipelines(): ReadonlySet<string> {
  const page = readFileSync("docs/neighbours.md", "utf8");
  const links = page.matchAll(/\[`([a-z0-9-]+)`\]\(\.\.\/manifests\/samples\/neighbours\/([a-z]+\.yaml)\)/g);
  return new Set([...links].map(([, name, file]) => `${file}/${name}`));
}

/** Pipelines of the samples, as `file/name`. */
export function samplePipelines(): ReadonlySet<string> {
  const found = globSync(`${folder}/*.yaml`).flatMap((file) =>
    parseAllDocuments(readFileSync(file, "utf8"))
      .map((document) => document.toJS() as { readonly kind: string; readonly metadata: { readonly name: string } })
      .filter(({ kind }) => kind === "Pipeline")
      .map(({ metadata }) => `${basename(file)}/${metadata.name}`),
  );
  return new Set(found);
}
