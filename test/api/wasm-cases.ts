import {
  type AgreementCase,
  absent,
  both,
  create,
  digest,
  field,
  integer,
  of,
  wasm,
  withField,
} from "./case-builders.ts";

const fetched = create("Processor", { wasm: { source: { oci: "ghcr.io/acme/words:1.2" } } });
const downloaded = create("Processor", { wasm: { source: { http: "https://example.com/words.wasm" } } });
const inline = withField(withField(wasm, "spec.wasm.isolation", "Inline"), "spec.wasm.limits.fuel", 5_000_000);
const variable = { name: "LOG_LEVEL", value: "info" };
const secretVariable = { name: "TOKEN", valueFrom: { secretKeyRef: { name: "words", key: "token" } } };
const setting = { name: "top", value: "10" };

const references = {
  good: [
    "words",
    "words:1.2",
    "acme/words",
    "ghcr.io/acme/words:1.2",
    `ghcr.io/acme/words@${digest}`,
    `localhost:5000/a/b__c/d--e.f:V_1.0-x@${digest}`,
    "127.0.0.1:65535/words",
    `a/${"x".repeat(510)}`,
  ],
  bad: [
    "",
    "https://ghcr.io/acme/words",
    "ghcr.io/Acme/words",
    "ghcr.io/acme/words:",
    "ghcr.io/acme/words:.1",
    "ghcr.io/acme/words@sha256:00",
    "localhost:65536/words",
    "words.",
    "a//b",
    "a b",
    "words\n",
    `words:${"1".repeat(129)}`,
    "x".repeat(513),
    1,
  ],
};
const urls = {
  good: [
    "https://example.com",
    "https://example.com/words.wasm",
    "http://registry.local:8080/a/b?c=d&e=%20",
    "https://[2001:db8::1]:8443/words.wasm",
    `https://example.com/${"x".repeat(2028)}`,
  ],
  bad: [
    "",
    "example.com/words.wasm",
    "ftp://example.com/words.wasm",
    "https://user:secret@example.com/words.wasm",
    "https://example.com/words.wasm#part",
    "https://example.com/a b",
    "https://example.com:0/",
    "https://example.com:70000/",
    "https:///words.wasm",
    "https://exam_ple.com/",
    "https://example.com/ü",
    `https://example.com/${"x".repeat(2029)}`,
  ],
};

function capability(name: string, good: readonly unknown[], bad: readonly unknown[]): AgreementCase[] {
  return field(wasm, `spec.wasm.capabilities.${name}`, good, bad);
}

const sourceCases: AgreementCase[] = [
  ...field(
    wasm,
    "spec.wasm.source",
    [{ configMapKeyRef: { name: "a", key: "b" } }, { oci: "a" }, { http: "https://a" }],
    [
      {},
      { configMapKeyRef: {} },
      { file: "a", configMapKeyRef: { name: "a", key: "b" } },
      { file: "a", oci: "a" },
      absent,
    ],
  ),
  ...both(fetched, "spec.wasm.source.oci", references),
  ...both(downloaded, "spec.wasm.source.http", urls),
  ...of("OCI", field(fetched, "spec.wasm.pullPolicy", ["Always", "IfNotPresent", "Never", null], ["always", ""])),
  ...of("HTTP", field(downloaded, "spec.wasm.pullPolicy", ["Always"], [])),
  ...of("file", field(wasm, "spec.wasm.pullPolicy", [absent], ["Always"])),
  ...of("OCI", field(fetched, "spec.wasm.pullSecretRef", [{ name: "registry" }, null], [{}, { name: "" }, "registry"])),
  ...of("HTTP", field(downloaded, "spec.wasm.pullSecretRef", [], [{ name: "registry" }])),
  ...of("file", field(wasm, "spec.wasm.pullSecretRef", [], [{ name: "registry" }])),
  ...field(
    wasm,
    "spec.wasm.verify",
    [{ publicKeySecretRef: { name: "key" } }, { publicKeySecretRef: { name: "key", key: "cosign.pub" } }, null],
    [{}, { publicKeySecretRef: {} }, { publicKeySecretRef: { name: "key", key: "" } }],
  ),
];

const capabilityCases: AgreementCase[] = [
  ...field(wasm, "spec.wasm.capabilities", [{}, null], [[], { files: ["/"] }]),
  ...capability(
    "allowedHosts",
    [[], ["api.example.com", "*.example.com", "127.0.0.1"], null],
    [["*"], ["API.example.com"], ["https://example.com"], ["example.com:443"], ["a", "a"], ["*.*.a"], ["."], [""]],
  ),
  ...capability(
    "env",
    [[], [variable, secretVariable], [{ name: "_1", value: "" }], [{ name: "A", value: "ü\n" }], null],
    [
      [variable, variable],
      [{ name: "1A", value: "" }],
      [{ name: "A-B", value: "" }],
      [{ name: "A" }],
      [{ ...secretVariable, value: "" }],
      [{ name: "A", valueFrom: {} }],
      [{ name: "A", value: "a\0b" }],
      [{ name: "A", value: "x".repeat(4097) }],
      Array.from({ length: 65 }, (_, index) => ({ name: `A${index}`, value: "" })),
    ],
  ),
  ...capability(
    "config",
    [[], [setting], [{ name: "millrace", value: "x".repeat(16_384) }], null],
    [[setting, setting], [{ name: "millrace.options", value: "{}" }], [{ name: "top" }], [{ name: "", value: "" }]],
  ),
  ...capability("randomSeed", ["x", "x".repeat(128), null], ["", "x".repeat(129), 1]),
];

const inlineCases: AgreementCase[] = [
  ...of("Inline", field(inline, "spec.wasm.limits.fuel", [1, 5_000_000], [5_000_001, absent])),
  ...of("Inline", field(inline, "spec.wasm.capabilities.allowedHosts", [[]], [["example.com"]])),
  ...of("Inline", field(inline, "spec.wasm.capabilities.env", [[]], [[variable]])),
  ...of("Inline", field(inline, "spec.wasm.capabilities.config", [[setting]], [])),
  ...of("Inline", field(inline, "spec.wasm.capabilities.randomSeed", [], ["seed"])),
];

/** Of spec.wasm, but for what they have in common with other backends. */
export const wasmCases: readonly AgreementCase[] = [
  ...sourceCases,
  ...capabilityCases,
  ...inlineCases,
  ...field(wasm, "spec.wasm.digest", [digest], ["sha1:00", digest.replace("a", "g")]),
  ...field(wasm, "spec.wasm.abi", ["Auto", "Direct", "Extism", "WaPC", "Dagwood"], ["Component", "waPC", ""]),
  ...field(wasm, "spec.wasm.entrypoint", ["process", "_start"], ["", "x".repeat(129)]),
  ...field(
    wasm,
    "spec.wasm.limits.memory",
    ["4Gi", "4096Mi", "4194304Ki", "4G", "4294M", "4294967k", 4_294_967_296, "64Mi"],
    ["5Gi", "4097Mi", "4194305Ki", "5G", "4295M", "4294968k", 4_294_967_297, 0, "0Mi", "64Ti", "x"],
  ),
  ...both(wasm, "spec.wasm.limits.fuel", integer(1, 100_000_000_000_000)),
  ...field(wasm, "spec.wasm.limits", [{}, null], [{ time: 1 }, []]),
  ...both(wasm, "spec.wasm.reuse", integer(1, 10_000)),
  ...field(wasm, "spec.wasm.isolation", ["Worker", null], ["Process", "Thread", ""]),
];
