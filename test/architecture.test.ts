import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect } from "chai";

/** A file of ours and what it imports: other files of ours (as paths from the root), and packages. */
interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
  readonly packages: readonly string[];
}

const rooms = ["engine", "backends", "controller"];
const sources = globSync(`{${rooms.join(",")}}/**/*.ts`)
  .sort()
  .map(read);

function read(path: string): Source {
  const text = readFileSync(path, "utf8");
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
  const specifiers = [...code.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*|new URL\(\s*)"([^"]+)"/g)].map(
    (match) => match[1] ?? "",
  );
  const imports = specifiers
    .filter((name) => /^\.\.?\//.test(name))
    .map((name) => normalize(join(dirname(path), name)));
  const packages = specifiers.filter((name) => !/^(\.|node:|https?:)/.test(name)).map(packageName);
  return { path, text: code, imports: imports.filter((name) => name.endsWith(".ts")), packages };
}

function packageName(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

function offences(rule: (source: Source) => readonly string[]): string[] {
  return sources.flatMap((source) => rule(source).map((offence) => `${source.path}: ${offence}`));
}

const under = (path: string, folder: string): boolean => path.startsWith(`${folder}/`);
const folderOf = (path: string, depth: number): string => path.split("/").slice(0, depth).join("/");

describe("the direction of imports", () => {
  it("finds the sources", () => {
    expect(sources.length).to.be.greaterThan(20);
    expect(sources.some(({ imports }) => imports.length > 0)).to.equal(true);
  });

  it("keeps the engine to itself, with CEL and a linear-time `matches` in expressions/expressions.ts alone", () => {
    const allowed: Readonly<Record<string, readonly string[]>> = {
      "engine/expressions/expressions.ts": ["@marcbachmann/cel-js", "re2js"],
    };
    const found = offences(({ path, imports, packages }) =>
      under(path, "engine")
        ? [
            ...imports.filter((name) => !under(name, "engine")),
            ...packages.filter((name) => !(allowed[path] ?? []).includes(name)),
          ]
        : [],
    );
    expect(found).to.deep.equal([]);
  });

  it("lets a backend import the engine, the backends' own files and the host, never a sibling or the controller", () => {
    const found = offences(({ path, imports }) => {
      if (!under(path, "backends")) return [];
      const own = path.split("/").length > 2 ? folderOf(path, 2) : undefined;
      return imports.filter((name) => {
        if (under(name, "engine") || under(name, "backends/host")) return false;
        if (under(name, "backends") && name.split("/").length === 2) return false;
        return own === undefined || !under(name, own);
      });
    });
    expect(found).to.deep.equal([]);
  });

  it("lets only controller/api and controller/runtime know the Kubernetes client", () => {
    const found = offences(({ path, packages }) =>
      under(path, "controller/api") || under(path, "controller/runtime")
        ? []
        : packages.filter((name) => name === "@kubernetes/client-node"),
    );
    expect(found).to.deep.equal([]);
  });

  it("keeps the kinds apart: they meet in the catalog", () => {
    const kinds = ["controller/processor", "controller/pipeline", "controller/execution"];
    const found = offences(({ path, imports }) => {
      const own = kinds.find((kind) => under(path, kind));
      if (own === undefined) return [];
      return imports.filter((name) => kinds.some((kind) => kind !== own && under(name, kind)));
    });
    expect(found).to.deep.equal([]);
  });

  it("keeps compiling and running apart: both stand on expressions and on the engine's own types", () => {
    const found = offences(({ path, imports }) => {
      const room = folderOf(path, 2);
      if (!under(path, "engine") || room === path) return [];
      const others = ["engine/expressions", "engine/compile", "engine/run"].filter((other) => other !== room);
      const above = room === "engine/expressions" ? others : others.filter((other) => other !== "engine/expressions");
      return imports.filter((name) => above.some((other) => under(name, other)));
    });
    expect(found).to.deep.equal([]);
  });

  it("lets each room of the controller import only what lies below it", () => {
    const below: Readonly<Record<string, readonly string[]>> = {
      "controller/api": [],
      "controller/payloads": ["controller/api", "controller/runtime"],
      "controller/runtime": ["controller/api"],
      "controller/processor": ["controller/api", "controller/runtime", "controller/catalog.ts"],
      "controller/pipeline": ["controller/api", "controller/runtime", "controller/catalog.ts"],
      "controller/execution": ["controller/api", "controller/runtime", "controller/payloads", "controller/catalog.ts"],
    };
    const found = offences(({ path, imports }) => {
      const room = folderOf(path, 2);
      const allowed = below[room];
      if (allowed === undefined) return [];
      return imports.filter(
        (name) =>
          under(name, "controller") &&
          !under(name, room) &&
          !allowed.some((target) => name === target || under(name, target)),
      );
    });
    expect(found).to.deep.equal([]);
  });

  it("lets nothing import the tests", () => {
    expect(offences(({ imports }) => imports.filter((name) => under(name, "test")))).to.deep.equal([]);
  });

  it("has no circle", () => {
    expect(circles()).to.deep.equal([]);
  });
});

describe("the ports", () => {
  it("are the only way from the engine and the controller to clock, timers, randomness and environment", () => {
    const forbidden =
      /\b(?:Date\.now\(|new Date\(\)|performance\.now\(|Math\.random\(|setTimeout\(|setInterval\(|process\.(?:env|hrtime)\b)/g;
    const excepted = ["engine/clock.ts", "controller/main.ts"];
    const found = offences(({ path, text }) =>
      under(path, "backends") || excepted.includes(path) ? [] : [...text.matchAll(forbidden)].map((match) => match[0]),
    );
    expect(found).to.deep.equal([]);
  });
});

/** Each circle of imports once, as the path around it. Type-only imports count too: a reader follows them all the same. */
function circles(): string[] {
  const edges = new Map(sources.map(({ path, imports }) => [path, imports]));
  const state = new Map<string, "open" | "done">();
  const found: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      found.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
      return;
    }
    state.set(path, "open");
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, "done");
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}
