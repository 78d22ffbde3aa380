// Made from crds/ by `npm run generate`; not to be edited. What offline validation goes by.
import type { Kind, StructuralSchema } from "./structural-schema.ts";

export const schemas: Readonly<Record<Kind, StructuralSchema>> = {
  Processor: {
    type: "object",
    required: ["spec"],
    "x-kubernetes-validations": [
      {
        rule: "self.metadata.name.size() <= 63",
        fieldPath: ".metadata",
        message: "the name of a Processor has at most 63 characters",
      },
    ],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: {
        type: "object",
        "x-kubernetes-validations": [
          {
            rule: "(has(self.local) ? 1 : 0) + (has(self.rpc) ? 1 : 0) + (has(self.wasm) ? 1 : 0) == 1",
            message: "exactly one of local, rpc and wasm must be set",
          },
          {
            rule: "self.delivery != 'AtMostOnce' || !has(self.retry.limit) || self.retry.limit == 0",
            fieldPath: ".retry.limit",
            message:
              "with delivery AtMostOnce an attempt is never followed by another: leave retry.limit out, or set it to 0",
          },
        ],
        properties: {
          intent: { type: "string", enum: ["Transform", "Analyze"], default: "Transform" },
          local: {
            type: "object",
            "x-kubernetes-validations": [
              {
                rule: "(has(self.builtin) ? 1 : 0) + (has(self.module) ? 1 : 0) == 1",
                message: "exactly one of builtin and module must be set",
              },
            ],
            properties: {
              builtin: {
                type: "string",
                minLength: 1,
                maxLength: 63,
                "x-kubernetes-validations": [
                  {
                    rule: "self.matches('^[a-z][A-Za-z0-9]*([.-][A-Za-z0-9]+)*$')",
                    message:
                      "a built-in's name is words of letters and digits joined by dots or hyphens, such as text.uppercase",
                  },
                ],
              },
              module: {
                type: "object",
                required: ["file"],
                properties: {
                  file: {
                    type: "string",
                    minLength: 1,
                    maxLength: 255,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$')",
                        message:
                          "must be a path relative to the plugins directory, of letters, digits, '_', '-', '.' and '/', in which no part begins with a dot",
                      },
                    ],
                  },
                  export: {
                    type: "string",
                    minLength: 1,
                    maxLength: 128,
                    default: "process",
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^[A-Za-z_$][A-Za-z0-9_$]*$')",
                        message: "must be the name of an export, a JavaScript identifier such as process",
                      },
                    ],
                  },
                  digest: {
                    type: "string",
                    minLength: 71,
                    maxLength: 71,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^sha256:[0-9a-f]{64}$')",
                        message: "must be 'sha256:' and 64 lower-case hexadecimal digits",
                      },
                    ],
                  },
                  isolation: { type: "string", enum: ["Thread", "Inline"], default: "Thread" },
                },
              },
            },
          },
          rpc: {
            type: "object",
            required: ["protocol", "endpoint"],
            "x-kubernetes-validations": [
              {
                rule: "self.protocol != 'GRPC' || self.endpoint.matches('^(dns:///)?([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9.])?|\\\\[[0-9A-Fa-f:.]+\\\\]):[0-9]{1,5}$')",
                fieldPath: ".endpoint",
                message: "a GRPC endpoint is host:port or dns:///host:port, such as dns:///words.default.svc:50051",
              },
              {
                rule: "self.protocol != 'HTTP' || self.endpoint.matches('^https?://([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9.])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?$')",
                fieldPath: ".endpoint",
                message:
                  "an HTTP endpoint is http://host[:port] or https://host[:port] without a path; the path goes into http.path",
              },
              {
                rule: "!self.endpoint.matches('^.*:[0-9]{1,5}$') || (int(self.endpoint.substring(self.endpoint.lastIndexOf(':') + 1)) >= 1 && int(self.endpoint.substring(self.endpoint.lastIndexOf(':') + 1)) <= 65535)",
                fieldPath: ".endpoint",
                message: "the port of an endpoint is a number from 1 to 65535",
              },
              {
                rule: "!has(self.http) || self.protocol == 'HTTP'",
                fieldPath: ".http",
                message: "http may be set only with protocol HTTP",
              },
            ],
            properties: {
              protocol: { type: "string", enum: ["GRPC", "HTTP"] },
              endpoint: { type: "string", minLength: 1, maxLength: 300 },
              http: {
                type: "object",
                properties: {
                  path: {
                    type: "string",
                    minLength: 1,
                    maxLength: 1024,
                    default: "/process",
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^/[!-~]*$') && !self.contains('#')",
                        message: "must begin with '/' and hold only printable ASCII without blanks and '#'",
                      },
                    ],
                  },
                },
              },
              maxConnections: { type: "integer", format: "int32", minimum: 1, maximum: 64, default: 4 },
            },
          },
          wasm: {
            type: "object",
            required: ["source"],
            "x-kubernetes-validations": [
              {
                rule: "!has(self.pullPolicy) || has(self.source.oci) || has(self.source.http)",
                fieldPath: ".pullPolicy",
                message:
                  "pullPolicy is for modules that are fetched, by source.oci or source.http: a ConfigMap is watched and a file looked at without it",
              },
              {
                rule: "!has(self.pullSecretRef) || has(self.source.oci)",
                fieldPath: ".pullSecretRef",
                message: "pullSecretRef has the credentials of a registry and goes with source.oci alone",
              },
              {
                rule: "self.isolation != 'Inline' || self.limits.fuel <= 5000000",
                fieldPath: ".limits.fuel",
                message:
                  "with isolation Inline, where nothing else can stop a call, limits.fuel must be set to at most 5000000",
              },
              {
                rule: "self.isolation != 'Inline' || !has(self.capabilities) || !has(self.capabilities.allowedHosts) || self.capabilities.allowedHosts.size() == 0",
                fieldPath: ".capabilities.allowedHosts",
                message:
                  "with isolation Inline a module has no network: leave allowedHosts out, or use isolation Worker",
              },
              {
                rule: "self.isolation != 'Inline' || !has(self.capabilities) || !has(self.capabilities.env) || self.capabilities.env.size() == 0",
                fieldPath: ".capabilities.env",
                message:
                  "with isolation Inline a module has no WASI and no environment: leave env out, or use isolation Worker",
              },
              {
                rule: "self.isolation != 'Inline' || !has(self.capabilities) || !has(self.capabilities.randomSeed)",
                fieldPath: ".capabilities.randomSeed",
                message:
                  "with isolation Inline a module has no WASI and no random numbers: leave randomSeed out, or use isolation Worker",
              },
            ],
            properties: {
              source: {
                type: "object",
                "x-kubernetes-validations": [
                  {
                    rule: "(has(self.oci) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) + (has(self.file) ? 1 : 0) == 1",
                    message: "exactly one of oci, http, configMapKeyRef and file must be set",
                  },
                ],
                properties: {
                  oci: {
                    type: "string",
                    minLength: 1,
                    maxLength: 512,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?/)?[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\\\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$')",
                        message:
                          "must be a reference such as ghcr.io/acme/words:1.2 or ghcr.io/acme/words@sha256:…, without a scheme; the repository is in lower case",
                      },
                    ],
                  },
                  http: {
                    type: "string",
                    minLength: 1,
                    maxLength: 2048,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^https?://([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\\\\[[0-9A-Fa-f:.]+\\\\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?([/?][!-~]*)?$') && !self.contains('#')",
                        message:
                          "must be https://host[:port]/path (http:// only for hosts of --insecure-registry) in printable ASCII, without a user, blanks and '#', such as https://example.com/words.wasm",
                      },
                    ],
                  },
                  configMapKeyRef: {
                    type: "object",
                    required: ["name", "key"],
                    properties: {
                      name: { type: "string", minLength: 1, maxLength: 253 },
                      key: { type: "string", minLength: 1, maxLength: 253 },
                    },
                  },
                  file: {
                    type: "string",
                    minLength: 1,
                    maxLength: 255,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$')",
                        message:
                          "must be a path relative to the modules directory, of letters, digits, '_', '-', '.' and '/', in which no part begins with a dot",
                      },
                    ],
                  },
                },
              },
              digest: {
                type: "string",
                minLength: 71,
                maxLength: 71,
                "x-kubernetes-validations": [
                  {
                    rule: "self.matches('^sha256:[0-9a-f]{64}$')",
                    message: "must be 'sha256:' and 64 lower-case hexadecimal digits",
                  },
                ],
              },
              pullPolicy: { type: "string", enum: ["Always", "IfNotPresent", "Never"] },
              pullSecretRef: {
                type: "object",
                required: ["name"],
                properties: { name: { type: "string", minLength: 1, maxLength: 253 } },
              },
              verify: {
                type: "object",
                required: ["publicKeySecretRef"],
                properties: {
                  publicKeySecretRef: {
                    type: "object",
                    required: ["name"],
                    properties: {
                      name: { type: "string", minLength: 1, maxLength: 253 },
                      key: { type: "string", minLength: 1, maxLength: 253 },
                    },
                  },
                },
              },
              abi: { type: "string", enum: ["Auto", "Direct", "Extism", "WaPC", "Dagwood"], default: "Auto" },
              entrypoint: { type: "string", minLength: 1, maxLength: 128, default: "process" },
              limits: {
                type: "object",
                default: {},
                properties: {
                  memory: {
                    "x-kubernetes-int-or-string": true,
                    maxLength: 12,
                    default: "64Mi",
                    "x-kubernetes-validations": [
                      {
                        rule: "type(self) == int ? self > 0 && self <= 4294967296 : type(self) == string && self.matches('^[1-9][0-9]{0,9}(k|M|G|Ki|Mi|Gi)?$') && ( self.endsWith('Gi') ? int(self.substring(0, self.size() - 2)) <= 4 : self.endsWith('Mi') ? int(self.substring(0, self.size() - 2)) <= 4096 : self.endsWith('Ki') ? int(self.substring(0, self.size() - 2)) <= 4194304 : self.endsWith('G') ? int(self.substring(0, self.size() - 1)) <= 4 : self.endsWith('M') ? int(self.substring(0, self.size() - 1)) <= 4294 : self.endsWith('k') ? int(self.substring(0, self.size() - 1)) <= 4294967 : int(self) <= 4294967296)",
                        message:
                          "must be a whole number of bytes, or one with a suffix k, M, G, Ki, Mi or Gi, above 0 and at most 4Gi, such as 64Mi",
                      },
                    ],
                  },
                  fuel: {
                    type: "integer",
                    format: "int64",
                    minimum: 1,
                    maximum: 100000000000000,
                    default: 10000000000,
                  },
                },
              },
              capabilities: {
                type: "object",
                properties: {
                  allowedHosts: {
                    type: "array",
                    "x-kubernetes-list-type": "set",
                    maxItems: 64,
                    items: {
                      type: "string",
                      minLength: 1,
                      maxLength: 253,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^([*]\\\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')",
                          message:
                            "must be a host in lower case, without scheme, port and path, such as api.example.com, or *.example.com for all names below it",
                        },
                      ],
                    },
                  },
                  env: {
                    type: "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    maxItems: 64,
                    items: {
                      type: "object",
                      required: ["name"],
                      "x-kubernetes-validations": [
                        {
                          rule: "(has(self.value) ? 1 : 0) + (has(self.valueFrom) ? 1 : 0) == 1",
                          message: "exactly one of value and valueFrom must be set",
                        },
                      ],
                      properties: {
                        name: {
                          type: "string",
                          minLength: 1,
                          maxLength: 128,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
                              message:
                                "must be letters, digits and '_' that do not begin with a digit, such as LOG_LEVEL",
                            },
                          ],
                        },
                        value: {
                          type: "string",
                          maxLength: 4096,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^[^\\\\x00]*$')",
                              message: "must have no character NUL, which ends a variable",
                            },
                          ],
                        },
                        valueFrom: {
                          type: "object",
                          required: ["secretKeyRef"],
                          properties: {
                            secretKeyRef: {
                              type: "object",
                              required: ["name", "key"],
                              properties: {
                                name: { type: "string", minLength: 1, maxLength: 253 },
                                key: { type: "string", minLength: 1, maxLength: 253 },
                              },
                            },
                          },
                        },
                      },
                    },
                  },
                  config: {
                    type: "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    maxItems: 64,
                    items: {
                      type: "object",
                      required: ["name", "value"],
                      properties: {
                        name: {
                          type: "string",
                          minLength: 1,
                          maxLength: 128,
                          "x-kubernetes-validations": [
                            {
                              rule: "!self.startsWith('millrace.')",
                              message:
                                "names that begin with 'millrace.' are Millrace's own, by which it tells a module of the call; choose another",
                            },
                          ],
                        },
                        value: { type: "string", maxLength: 16384 },
                      },
                    },
                  },
                  randomSeed: { type: "string", minLength: 1, maxLength: 128 },
                },
              },
              reuse: { type: "integer", format: "int32", minimum: 1, maximum: 10000, default: 1 },
              isolation: { type: "string", enum: ["Worker", "Inline"], default: "Worker" },
            },
          },
          options: {
            type: "object",
            maxProperties: 128,
            additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
          },
          optionsSchema: {
            type: "object",
            maxProperties: 128,
            additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
          },
          outputSchema: {
            type: "object",
            maxProperties: 128,
            additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
          },
          metadataSchema: {
            type: "object",
            maxProperties: 128,
            additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
          },
          secrets: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            maxItems: 32,
            items: {
              type: "object",
              required: ["name", "secretKeyRef"],
              properties: {
                name: {
                  type: "string",
                  minLength: 1,
                  maxLength: 63,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                      message:
                        "must be a DNS label of lower-case letters, digits and hyphens that begins and ends with a letter or digit, such as api-key",
                    },
                  ],
                },
                secretKeyRef: {
                  type: "object",
                  required: ["name", "key"],
                  properties: {
                    name: { type: "string", minLength: 1, maxLength: 253 },
                    key: { type: "string", minLength: 1, maxLength: 253 },
                  },
                },
              },
            },
          },
          delivery: { type: "string", enum: ["AtLeastOnce", "AtMostOnce"], default: "AtLeastOnce" },
          timeout: {
            type: "string",
            minLength: 1,
            maxLength: 32,
            default: "30s",
            "x-kubernetes-validations": [
              {
                rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                message:
                  "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 30s or 1m30s",
              },
            ],
          },
          retry: {
            type: "object",
            default: {},
            properties: {
              limit: { type: "integer", format: "int32", minimum: 0, maximum: 10 },
              backoff: {
                type: "object",
                default: {},
                properties: {
                  initial: {
                    type: "string",
                    minLength: 1,
                    maxLength: 32,
                    default: "100ms",
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                        message:
                          "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 100ms",
                      },
                    ],
                  },
                  factor: { type: "number", minimum: 1, maximum: 10, default: 2 },
                  max: {
                    type: "string",
                    minLength: 1,
                    maxLength: 32,
                    default: "10s",
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                        message:
                          "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 10s",
                      },
                    ],
                  },
                  jitterPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100, default: 20 },
                },
              },
              budgetPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100, default: 20 },
              codes: {
                type: "array",
                "x-kubernetes-list-type": "set",
                maxItems: 16,
                default: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
                items: {
                  type: "string",
                  enum: [
                    "InvalidInput",
                    "NotFound",
                    "PayloadTooLarge",
                    "Unavailable",
                    "DeadlineExceeded",
                    "ResourceExhausted",
                    "SandboxViolation",
                    "ProcessorFailed",
                    "ProcessorCrashed",
                    "PayloadLost",
                    "Internal",
                  ],
                },
              },
            },
          },
          maxInputSize: {
            "x-kubernetes-int-or-string": true,
            maxLength: 12,
            default: "4Mi",
            "x-kubernetes-validations": [
              {
                rule: "type(self) == int ? self > 0 && self <= 67108864 : type(self) == string && self.matches('^[1-9][0-9]{0,9}(k|M|Ki|Mi)?$') && ( self.endsWith('Mi') ? int(self.substring(0, self.size() - 2)) <= 64 : self.endsWith('Ki') ? int(self.substring(0, self.size() - 2)) <= 65536 : self.endsWith('M') ? int(self.substring(0, self.size() - 1)) <= 67 : self.endsWith('k') ? int(self.substring(0, self.size() - 1)) <= 67108 : int(self) <= 67108864)",
                message:
                  "must be a whole number of bytes, or one with a suffix k, M, Ki or Mi, above 0 and at most 64Mi, such as 4Mi",
              },
            ],
          },
          maxOutputSize: {
            "x-kubernetes-int-or-string": true,
            maxLength: 12,
            default: "4Mi",
            "x-kubernetes-validations": [
              {
                rule: "type(self) == int ? self > 0 && self <= 67108864 : type(self) == string && self.matches('^[1-9][0-9]{0,9}(k|M|Ki|Mi)?$') && ( self.endsWith('Mi') ? int(self.substring(0, self.size() - 2)) <= 64 : self.endsWith('Ki') ? int(self.substring(0, self.size() - 2)) <= 65536 : self.endsWith('M') ? int(self.substring(0, self.size() - 1)) <= 67 : self.endsWith('k') ? int(self.substring(0, self.size() - 1)) <= 67108 : int(self) <= 67108864)",
                message:
                  "must be a whole number of bytes, or one with a suffix k, M, Ki or Mi, above 0 and at most 64Mi, such as 4Mi",
              },
            ],
          },
          maxConcurrency: { type: "integer", format: "int32", minimum: 1, maximum: 1024, default: 64 },
        },
      },
      status: {
        type: "object",
        default: {
          conditions: [
            {
              type: "Ready",
              status: "Unknown",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
            {
              type: "Reconciling",
              status: "True",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
          ],
        },
        properties: {
          observedGeneration: { type: "integer", format: "int64", minimum: 0 },
          backend: { type: "string", enum: ["Local", "RPC", "WASM"] },
          conditions: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            maxItems: 16,
            items: {
              type: "object",
              required: ["type", "status", "lastTransitionTime", "reason", "message"],
              properties: {
                type: { type: "string", minLength: 1, maxLength: 316 },
                status: { type: "string", enum: ["True", "False", "Unknown"] },
                observedGeneration: { type: "integer", format: "int64", minimum: 0 },
                lastTransitionTime: { type: "string", format: "date-time", maxLength: 64 },
                reason: { type: "string", minLength: 1, maxLength: 1024 },
                message: { type: "string", maxLength: 32768 },
              },
            },
          },
          module: {
            type: "object",
            properties: {
              digest: { type: "string", maxLength: 128 },
              bytes: { type: "integer", format: "int64", minimum: 0 },
              source: { type: "string", maxLength: 4096 },
              reference: { type: "string", maxLength: 1024 },
              abi: { type: "string", maxLength: 64 },
              imports: {
                type: "array",
                "x-kubernetes-list-type": "atomic",
                maxItems: 256,
                items: { type: "string", maxLength: 512 },
              },
              exports: {
                type: "array",
                "x-kubernetes-list-type": "atomic",
                maxItems: 256,
                items: { type: "string", maxLength: 512 },
              },
            },
          },
        },
      },
    },
  },
  Pipeline: {
    type: "object",
    required: ["spec"],
    "x-kubernetes-validations": [
      {
        rule: "self.metadata.name.size() <= 63",
        fieldPath: ".metadata",
        message: "the name of a Pipeline has at most 63 characters",
      },
    ],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: {
        type: "object",
        required: ["steps"],
        "x-kubernetes-validations": [
          {
            rule: "[self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.steps.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))",
            fieldPath: ".steps",
            message: "each name in a step's dependsOn must be the name of a step of the same Pipeline",
          },
          {
            rule: "!has(self.finally) || [self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(f, !(f.name in names)))",
            fieldPath: ".finally",
            message: "a step of finally must have another name than each of the steps",
          },
          {
            rule: "!has(self.finally) || [self.finally.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))",
            fieldPath: ".finally",
            message:
              "each name in the dependsOn of a step of finally must be the name of another step of finally; all steps of the graph have ended before",
          },
        ],
        properties: {
          strategy: { type: "string", enum: ["WorkQueue", "LevelByLevel", "Reactive", "Hybrid"], default: "WorkQueue" },
          failurePolicy: { type: "string", enum: ["Continue", "FailFast", "BestEffort"], default: "Continue" },
          maxParallelSteps: { type: "integer", format: "int32", minimum: 1, maximum: 1000, default: 16 },
          timeout: {
            type: "string",
            minLength: 1,
            maxLength: 32,
            "x-kubernetes-validations": [
              {
                rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                message:
                  "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 5m",
              },
            ],
          },
          parameters: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            maxItems: 64,
            items: {
              type: "object",
              required: ["name"],
              properties: {
                name: {
                  type: "string",
                  minLength: 1,
                  maxLength: 63,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^[A-Za-z_][A-Za-z0-9_-]*$')",
                      message:
                        "must begin with a letter or '_' and go on with letters, digits, '_' and '-', such as language",
                    },
                  ],
                },
                schema: {
                  type: "object",
                  maxProperties: 128,
                  additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                },
                default: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
              },
            },
          },
          input: {
            type: "object",
            default: {},
            properties: {
              schema: {
                type: "object",
                maxProperties: 128,
                additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
              },
              maxSize: {
                "x-kubernetes-int-or-string": true,
                maxLength: 12,
                default: "4Mi",
                "x-kubernetes-validations": [
                  {
                    rule: "type(self) == int ? self > 0 && self <= 67108864 : type(self) == string && self.matches('^[1-9][0-9]{0,9}(k|M|Ki|Mi)?$') && ( self.endsWith('Mi') ? int(self.substring(0, self.size() - 2)) <= 64 : self.endsWith('Ki') ? int(self.substring(0, self.size() - 2)) <= 65536 : self.endsWith('M') ? int(self.substring(0, self.size() - 1)) <= 67 : self.endsWith('k') ? int(self.substring(0, self.size() - 1)) <= 67108 : int(self) <= 67108864)",
                    message:
                      "must be a whole number of bytes, or one with a suffix k, M, Ki or Mi, above 0 and at most 64Mi, such as 4Mi",
                  },
                ],
              },
            },
          },
          steps: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            minItems: 1,
            maxItems: 1000,
            items: {
              type: "object",
              required: ["name"],
              "x-kubernetes-validations": [
                {
                  rule: "(has(self.processor) ? 1 : 0) + (has(self.pipeline) ? 1 : 0) == 1",
                  message: "exactly one of processor and pipeline must be set",
                },
                {
                  rule: "!has(self.pipeline) || !('options' in dyn(self) || has(self.optionsExpression) || has(self.forEach) || has(self.maxParallel) || has(self.timeout) || has(self.retry) || has(self.onFailure) || has(self.cache))",
                  message:
                    "with pipeline only name, dependsOn, when, input and parameters may be set; the rest is said by the steps of that Pipeline",
                },
                {
                  rule: "!has(self.parameters) || has(self.pipeline)",
                  fieldPath: ".parameters",
                  message: "parameters may be set only with pipeline; a Processor takes options or optionsExpression",
                },
                {
                  rule: "!has(self.maxParallel) || has(self.forEach)",
                  fieldPath: ".maxParallel",
                  message: "maxParallel may be set only with forEach",
                },
                {
                  rule: "!has(self.dependsOn) || !(self.name in self.dependsOn)",
                  fieldPath: ".dependsOn",
                  message: "a step cannot depend on itself",
                },
              ],
              properties: {
                name: {
                  type: "string",
                  minLength: 1,
                  maxLength: 63,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                      message:
                        "must be a DNS label of lower-case letters, digits and hyphens that begins and ends with a letter or digit, such as html-to-text",
                    },
                  ],
                },
                processor: { type: "string", minLength: 1, maxLength: 63 },
                pipeline: { type: "string", minLength: 1, maxLength: 63 },
                parameters: {
                  type: "array",
                  "x-kubernetes-list-type": "map",
                  "x-kubernetes-list-map-keys": ["name"],
                  maxItems: 64,
                  items: {
                    type: "object",
                    required: ["name", "value"],
                    properties: {
                      name: { type: "string", minLength: 1, maxLength: 63 },
                      value: { type: "string", minLength: 1, maxLength: 4096 },
                    },
                  },
                },
                dependsOn: {
                  type: "array",
                  "x-kubernetes-list-type": "set",
                  maxItems: 64,
                  items: { type: "string", minLength: 1, maxLength: 63 },
                },
                options: {
                  type: "object",
                  maxProperties: 128,
                  additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                },
                optionsExpression: { type: "string", minLength: 1, maxLength: 4096 },
                forEach: { type: "string", minLength: 1, maxLength: 4096 },
                maxParallel: { type: "integer", format: "int32", minimum: 1, maximum: 1000 },
                input: { type: "string", minLength: 1, maxLength: 4096 },
                when: { type: "string", minLength: 1, maxLength: 4096 },
                timeout: {
                  type: "string",
                  minLength: 1,
                  maxLength: 32,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                      message:
                        "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 30s or 1m30s",
                    },
                  ],
                },
                onFailure: { type: "string", enum: ["Ignore"] },
                cache: {
                  type: "object",
                  required: ["maxAge"],
                  properties: {
                    maxAge: {
                      type: "string",
                      minLength: 1,
                      maxLength: 32,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                          message:
                            "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 1h",
                        },
                      ],
                    },
                    key: { type: "string", minLength: 1, maxLength: 4096 },
                  },
                },
                retry: {
                  type: "object",
                  properties: {
                    limit: { type: "integer", format: "int32", minimum: 0, maximum: 10 },
                    backoff: {
                      type: "object",
                      properties: {
                        initial: {
                          type: "string",
                          minLength: 1,
                          maxLength: 32,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                              message:
                                "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 100ms",
                            },
                          ],
                        },
                        factor: { type: "number", minimum: 1, maximum: 10 },
                        max: {
                          type: "string",
                          minLength: 1,
                          maxLength: 32,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                              message:
                                "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 10s",
                            },
                          ],
                        },
                        jitterPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100 },
                      },
                    },
                    codes: {
                      type: "array",
                      "x-kubernetes-list-type": "set",
                      maxItems: 16,
                      items: {
                        type: "string",
                        enum: [
                          "InvalidInput",
                          "NotFound",
                          "PayloadTooLarge",
                          "Unavailable",
                          "DeadlineExceeded",
                          "ResourceExhausted",
                          "SandboxViolation",
                          "ProcessorFailed",
                          "ProcessorCrashed",
                          "PayloadLost",
                          "Internal",
                        ],
                      },
                    },
                  },
                },
              },
            },
          },
          finally: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            maxItems: 32,
            items: {
              type: "object",
              required: ["name", "processor"],
              "x-kubernetes-validations": [
                {
                  rule: "!has(self.maxParallel) || has(self.forEach)",
                  fieldPath: ".maxParallel",
                  message: "maxParallel may be set only with forEach",
                },
                {
                  rule: "!has(self.dependsOn) || !(self.name in self.dependsOn)",
                  fieldPath: ".dependsOn",
                  message: "a step cannot depend on itself",
                },
              ],
              properties: {
                name: {
                  type: "string",
                  minLength: 1,
                  maxLength: 63,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                      message:
                        "must be a DNS label of lower-case letters, digits and hyphens that begins and ends with a letter or digit, such as html-to-text",
                    },
                  ],
                },
                processor: { type: "string", minLength: 1, maxLength: 63 },
                dependsOn: {
                  type: "array",
                  "x-kubernetes-list-type": "set",
                  maxItems: 32,
                  items: { type: "string", minLength: 1, maxLength: 63 },
                },
                options: {
                  type: "object",
                  maxProperties: 128,
                  additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                },
                optionsExpression: { type: "string", minLength: 1, maxLength: 4096 },
                forEach: { type: "string", minLength: 1, maxLength: 4096 },
                maxParallel: { type: "integer", format: "int32", minimum: 1, maximum: 1000 },
                input: { type: "string", minLength: 1, maxLength: 4096 },
                when: { type: "string", minLength: 1, maxLength: 4096 },
                timeout: {
                  type: "string",
                  minLength: 1,
                  maxLength: 32,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                      message:
                        "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 30s or 1m30s",
                    },
                  ],
                },
                onFailure: { type: "string", enum: ["Ignore"] },
                retry: {
                  type: "object",
                  properties: {
                    limit: { type: "integer", format: "int32", minimum: 0, maximum: 10 },
                    backoff: {
                      type: "object",
                      properties: {
                        initial: {
                          type: "string",
                          minLength: 1,
                          maxLength: 32,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                              message:
                                "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 100ms",
                            },
                          ],
                        },
                        factor: { type: "number", minimum: 1, maximum: 10 },
                        max: {
                          type: "string",
                          minLength: 1,
                          maxLength: 32,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                              message:
                                "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 10s",
                            },
                          ],
                        },
                        jitterPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100 },
                      },
                    },
                    codes: {
                      type: "array",
                      "x-kubernetes-list-type": "set",
                      maxItems: 16,
                      items: {
                        type: "string",
                        enum: [
                          "InvalidInput",
                          "NotFound",
                          "PayloadTooLarge",
                          "Unavailable",
                          "DeadlineExceeded",
                          "ResourceExhausted",
                          "SandboxViolation",
                          "ProcessorFailed",
                          "ProcessorCrashed",
                          "PayloadLost",
                          "Internal",
                        ],
                      },
                    },
                  },
                },
              },
            },
          },
          finallyTimeout: {
            type: "string",
            minLength: 1,
            maxLength: 32,
            default: "1m",
            "x-kubernetes-validations": [
              {
                rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                message:
                  "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 1m",
              },
            ],
          },
          output: { type: "string", minLength: 1, maxLength: 4096 },
          outputs: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            maxItems: 64,
            items: {
              type: "object",
              required: ["name", "value"],
              properties: {
                name: {
                  type: "string",
                  minLength: 1,
                  maxLength: 63,
                  "x-kubernetes-validations": [
                    {
                      rule: "self.matches('^[A-Za-z_][A-Za-z0-9_-]*$')",
                      message:
                        "must begin with a letter or '_' and go on with letters, digits, '_' and '-', such as top",
                    },
                  ],
                },
                value: { type: "string", minLength: 1, maxLength: 4096 },
              },
            },
          },
          concurrency: {
            type: "object",
            required: ["limit"],
            "x-kubernetes-validations": [
              {
                rule: "!has(self.queueTimeout) || self.policy == 'Queue'",
                fieldPath: ".queueTimeout",
                message: "queueTimeout may be set only with policy Queue",
              },
            ],
            properties: {
              limit: { type: "integer", format: "int32", minimum: 1, maximum: 10000 },
              policy: { type: "string", enum: ["Queue", "Forbid", "Replace"], default: "Queue" },
              queueTimeout: {
                type: "string",
                minLength: 1,
                maxLength: 32,
                "x-kubernetes-validations": [
                  {
                    rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                    message:
                      "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 1h",
                  },
                ],
              },
            },
          },
          ttlSecondsAfterFinished: { type: "integer", format: "int32", minimum: 0, maximum: 31536000 },
          historyLimit: {
            type: "object",
            properties: {
              succeeded: { type: "integer", format: "int32", minimum: 0, maximum: 100000 },
              failed: { type: "integer", format: "int32", minimum: 0, maximum: 100000 },
            },
          },
        },
      },
      status: {
        type: "object",
        default: {
          conditions: [
            {
              type: "Ready",
              status: "Unknown",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
            {
              type: "Reconciling",
              status: "True",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
          ],
        },
        properties: {
          observedGeneration: { type: "integer", format: "int64", minimum: 0 },
          conditions: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            maxItems: 16,
            items: {
              type: "object",
              required: ["type", "status", "lastTransitionTime", "reason", "message"],
              properties: {
                type: { type: "string", minLength: 1, maxLength: 316 },
                status: { type: "string", enum: ["True", "False", "Unknown"] },
                observedGeneration: { type: "integer", format: "int64", minimum: 0 },
                lastTransitionTime: { type: "string", format: "date-time", maxLength: 64 },
                reason: { type: "string", minLength: 1, maxLength: 1024 },
                message: { type: "string", maxLength: 32768 },
              },
            },
          },
          graph: {
            type: "object",
            properties: {
              steps: { type: "integer", format: "int32", minimum: 0 },
              levels: { type: "integer", format: "int32", minimum: 0 },
              width: { type: "integer", format: "int32", minimum: 0 },
            },
          },
          executions: {
            type: "object",
            required: ["queued", "running"],
            properties: {
              queued: { type: "integer", format: "int32", minimum: 0 },
              running: { type: "integer", format: "int32", minimum: 0 },
            },
          },
        },
      },
    },
  },
  Execution: {
    type: "object",
    required: ["spec"],
    "x-kubernetes-validations": [
      {
        rule: "self.metadata.name.size() <= 63",
        fieldPath: ".metadata",
        message: "the name of an Execution has at most 63 characters",
      },
    ],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: {
        type: "object",
        "x-kubernetes-validations": [
          {
            rule: "(has(self.pipeline) ? 1 : 0) + (has(self.pipelineSpec) ? 1 : 0) == 1",
            message: "exactly one of pipeline and pipelineSpec must be set",
          },
          {
            rule: "has(self.pipeline) == has(oldSelf.pipeline) && (!has(self.pipeline) || self.pipeline == oldSelf.pipeline)",
            fieldPath: ".pipeline",
            message: "pipeline cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "has(self.pipelineSpec) == has(oldSelf.pipelineSpec) && (!has(self.pipelineSpec) || self.pipelineSpec == oldSelf.pipelineSpec)",
            fieldPath: ".pipelineSpec",
            message: "pipelineSpec cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "has(self.parameters) == has(oldSelf.parameters) && (!has(self.parameters) || self.parameters == oldSelf.parameters)",
            fieldPath: ".parameters",
            message: "parameters cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "has(self.input) == has(oldSelf.input) && (!has(self.input) || (self.input == oldSelf.input && oldSelf.input == self.input))",
            fieldPath: ".input",
            message: "input cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "self.priority == oldSelf.priority",
            fieldPath: ".priority",
            message: "priority cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "has(self.retryFrom) == has(oldSelf.retryFrom) && (!has(self.retryFrom) || self.retryFrom == oldSelf.retryFrom)",
            fieldPath: ".retryFrom",
            message: "retryFrom cannot be changed once the Execution exists; create another Execution",
          },
          {
            rule: "oldSelf.cancel == 'None' || self.cancel == oldSelf.cancel || self.cancel == 'Immediate'",
            fieldPath: ".cancel",
            message: "a cancellation cannot be taken back; it can only go from None to Graceful to Immediate",
          },
        ],
        properties: {
          pipeline: { type: "string", minLength: 1, maxLength: 63 },
          pipelineSpec: {
            type: "object",
            required: ["steps"],
            "x-kubernetes-validations": [
              {
                rule: "[self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.steps.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))",
                fieldPath: ".steps",
                message: "each name in a step's dependsOn must be the name of a step of the same Pipeline",
              },
              {
                rule: "!has(self.finally) || [self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(f, !(f.name in names)))",
                fieldPath: ".finally",
                message: "a step of finally must have another name than each of the steps",
              },
              {
                rule: "!has(self.finally) || [self.finally.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))",
                fieldPath: ".finally",
                message:
                  "each name in the dependsOn of a step of finally must be the name of another step of finally; all steps of the graph have ended before",
              },
            ],
            properties: {
              strategy: {
                type: "string",
                enum: ["WorkQueue", "LevelByLevel", "Reactive", "Hybrid"],
                default: "WorkQueue",
              },
              failurePolicy: { type: "string", enum: ["Continue", "FailFast", "BestEffort"], default: "Continue" },
              maxParallelSteps: { type: "integer", format: "int32", minimum: 1, maximum: 1000, default: 16 },
              timeout: {
                type: "string",
                minLength: 1,
                maxLength: 32,
                "x-kubernetes-validations": [
                  {
                    rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                    message:
                      "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 5m",
                  },
                ],
              },
              parameters: {
                type: "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                maxItems: 64,
                items: {
                  type: "object",
                  required: ["name"],
                  properties: {
                    name: {
                      type: "string",
                      minLength: 1,
                      maxLength: 63,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^[A-Za-z_][A-Za-z0-9_-]*$')",
                          message:
                            "must begin with a letter or '_' and go on with letters, digits, '_' and '-', such as language",
                        },
                      ],
                    },
                    schema: {
                      type: "object",
                      maxProperties: 128,
                      additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                    },
                    default: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                  },
                },
              },
              input: {
                type: "object",
                default: {},
                properties: {
                  schema: {
                    type: "object",
                    maxProperties: 128,
                    additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                  },
                  maxSize: {
                    "x-kubernetes-int-or-string": true,
                    maxLength: 12,
                    default: "4Mi",
                    "x-kubernetes-validations": [
                      {
                        rule: "type(self) == int ? self > 0 && self <= 67108864 : type(self) == string && self.matches('^[1-9][0-9]{0,9}(k|M|Ki|Mi)?$') && ( self.endsWith('Mi') ? int(self.substring(0, self.size() - 2)) <= 64 : self.endsWith('Ki') ? int(self.substring(0, self.size() - 2)) <= 65536 : self.endsWith('M') ? int(self.substring(0, self.size() - 1)) <= 67 : self.endsWith('k') ? int(self.substring(0, self.size() - 1)) <= 67108 : int(self) <= 67108864)",
                        message:
                          "must be a whole number of bytes, or one with a suffix k, M, Ki or Mi, above 0 and at most 64Mi, such as 4Mi",
                      },
                    ],
                  },
                },
              },
              steps: {
                type: "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                minItems: 1,
                maxItems: 100,
                items: {
                  type: "object",
                  required: ["name"],
                  "x-kubernetes-validations": [
                    {
                      rule: "(has(self.processor) ? 1 : 0) + (has(self.pipeline) ? 1 : 0) == 1",
                      message: "exactly one of processor and pipeline must be set",
                    },
                    {
                      rule: "!has(self.pipeline) || !('options' in dyn(self) || has(self.optionsExpression) || has(self.forEach) || has(self.maxParallel) || has(self.timeout) || has(self.retry) || has(self.onFailure) || has(self.cache))",
                      message:
                        "with pipeline only name, dependsOn, when, input and parameters may be set; the rest is said by the steps of that Pipeline",
                    },
                    {
                      rule: "!has(self.parameters) || has(self.pipeline)",
                      fieldPath: ".parameters",
                      message:
                        "parameters may be set only with pipeline; a Processor takes options or optionsExpression",
                    },
                    {
                      rule: "!has(self.maxParallel) || has(self.forEach)",
                      fieldPath: ".maxParallel",
                      message: "maxParallel may be set only with forEach",
                    },
                    {
                      rule: "!has(self.dependsOn) || !(self.name in self.dependsOn)",
                      fieldPath: ".dependsOn",
                      message: "a step cannot depend on itself",
                    },
                  ],
                  properties: {
                    name: {
                      type: "string",
                      minLength: 1,
                      maxLength: 63,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                          message:
                            "must be a DNS label of lower-case letters, digits and hyphens that begins and ends with a letter or digit, such as html-to-text",
                        },
                      ],
                    },
                    processor: { type: "string", minLength: 1, maxLength: 63 },
                    pipeline: { type: "string", minLength: 1, maxLength: 63 },
                    parameters: {
                      type: "array",
                      "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["name"],
                      maxItems: 64,
                      items: {
                        type: "object",
                        required: ["name", "value"],
                        properties: {
                          name: { type: "string", minLength: 1, maxLength: 63 },
                          value: { type: "string", minLength: 1, maxLength: 4096 },
                        },
                      },
                    },
                    dependsOn: {
                      type: "array",
                      "x-kubernetes-list-type": "set",
                      maxItems: 64,
                      items: { type: "string", minLength: 1, maxLength: 63 },
                    },
                    options: {
                      type: "object",
                      maxProperties: 128,
                      additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                    },
                    optionsExpression: { type: "string", minLength: 1, maxLength: 4096 },
                    forEach: { type: "string", minLength: 1, maxLength: 4096 },
                    maxParallel: { type: "integer", format: "int32", minimum: 1, maximum: 1000 },
                    input: { type: "string", minLength: 1, maxLength: 4096 },
                    when: { type: "string", minLength: 1, maxLength: 4096 },
                    timeout: {
                      type: "string",
                      minLength: 1,
                      maxLength: 32,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                          message:
                            "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 30s or 1m30s",
                        },
                      ],
                    },
                    onFailure: { type: "string", enum: ["Ignore"] },
                    cache: {
                      type: "object",
                      required: ["maxAge"],
                      properties: {
                        maxAge: {
                          type: "string",
                          minLength: 1,
                          maxLength: 32,
                          "x-kubernetes-validations": [
                            {
                              rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                              message:
                                "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 1h",
                            },
                          ],
                        },
                        key: { type: "string", minLength: 1, maxLength: 4096 },
                      },
                    },
                    retry: {
                      type: "object",
                      properties: {
                        limit: { type: "integer", format: "int32", minimum: 0, maximum: 10 },
                        backoff: {
                          type: "object",
                          properties: {
                            initial: {
                              type: "string",
                              minLength: 1,
                              maxLength: 32,
                              "x-kubernetes-validations": [
                                {
                                  rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                                  message:
                                    "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 100ms",
                                },
                              ],
                            },
                            factor: { type: "number", minimum: 1, maximum: 10 },
                            max: {
                              type: "string",
                              minLength: 1,
                              maxLength: 32,
                              "x-kubernetes-validations": [
                                {
                                  rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                                  message:
                                    "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 10s",
                                },
                              ],
                            },
                            jitterPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100 },
                          },
                        },
                        codes: {
                          type: "array",
                          "x-kubernetes-list-type": "set",
                          maxItems: 16,
                          items: {
                            type: "string",
                            enum: [
                              "InvalidInput",
                              "NotFound",
                              "PayloadTooLarge",
                              "Unavailable",
                              "DeadlineExceeded",
                              "ResourceExhausted",
                              "SandboxViolation",
                              "ProcessorFailed",
                              "ProcessorCrashed",
                              "PayloadLost",
                              "Internal",
                            ],
                          },
                        },
                      },
                    },
                  },
                },
              },
              finally: {
                type: "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                maxItems: 32,
                items: {
                  type: "object",
                  required: ["name", "processor"],
                  "x-kubernetes-validations": [
                    {
                      rule: "!has(self.maxParallel) || has(self.forEach)",
                      fieldPath: ".maxParallel",
                      message: "maxParallel may be set only with forEach",
                    },
                    {
                      rule: "!has(self.dependsOn) || !(self.name in self.dependsOn)",
                      fieldPath: ".dependsOn",
                      message: "a step cannot depend on itself",
                    },
                  ],
                  properties: {
                    name: {
                      type: "string",
                      minLength: 1,
                      maxLength: 63,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                          message:
                            "must be a DNS label of lower-case letters, digits and hyphens that begins and ends with a letter or digit, such as html-to-text",
                        },
                      ],
                    },
                    processor: { type: "string", minLength: 1, maxLength: 63 },
                    dependsOn: {
                      type: "array",
                      "x-kubernetes-list-type": "set",
                      maxItems: 32,
                      items: { type: "string", minLength: 1, maxLength: 63 },
                    },
                    options: {
                      type: "object",
                      maxProperties: 128,
                      additionalProperties: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                    },
                    optionsExpression: { type: "string", minLength: 1, maxLength: 4096 },
                    forEach: { type: "string", minLength: 1, maxLength: 4096 },
                    maxParallel: { type: "integer", format: "int32", minimum: 1, maximum: 1000 },
                    input: { type: "string", minLength: 1, maxLength: 4096 },
                    when: { type: "string", minLength: 1, maxLength: 4096 },
                    timeout: {
                      type: "string",
                      minLength: 1,
                      maxLength: 32,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                          message:
                            "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 30s or 1m30s",
                        },
                      ],
                    },
                    onFailure: { type: "string", enum: ["Ignore"] },
                    retry: {
                      type: "object",
                      properties: {
                        limit: { type: "integer", format: "int32", minimum: 0, maximum: 10 },
                        backoff: {
                          type: "object",
                          properties: {
                            initial: {
                              type: "string",
                              minLength: 1,
                              maxLength: 32,
                              "x-kubernetes-validations": [
                                {
                                  rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                                  message:
                                    "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 100ms",
                                },
                              ],
                            },
                            factor: { type: "number", minimum: 1, maximum: 10 },
                            max: {
                              type: "string",
                              minLength: 1,
                              maxLength: 32,
                              "x-kubernetes-validations": [
                                {
                                  rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                                  message:
                                    "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 10s",
                                },
                              ],
                            },
                            jitterPercent: { type: "integer", format: "int32", minimum: 0, maximum: 100 },
                          },
                        },
                        codes: {
                          type: "array",
                          "x-kubernetes-list-type": "set",
                          maxItems: 16,
                          items: {
                            type: "string",
                            enum: [
                              "InvalidInput",
                              "NotFound",
                              "PayloadTooLarge",
                              "Unavailable",
                              "DeadlineExceeded",
                              "ResourceExhausted",
                              "SandboxViolation",
                              "ProcessorFailed",
                              "ProcessorCrashed",
                              "PayloadLost",
                              "Internal",
                            ],
                          },
                        },
                      },
                    },
                  },
                },
              },
              finallyTimeout: {
                type: "string",
                minLength: 1,
                maxLength: 32,
                default: "1m",
                "x-kubernetes-validations": [
                  {
                    rule: "self.matches('^([0-9]+(\\\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('576h')",
                    message:
                      "must be a duration of numbers with the units ms, s, m or h, above 0 and at most 576h, such as 1m",
                  },
                ],
              },
              output: { type: "string", minLength: 1, maxLength: 4096 },
              outputs: {
                type: "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                maxItems: 64,
                items: {
                  type: "object",
                  required: ["name", "value"],
                  properties: {
                    name: {
                      type: "string",
                      minLength: 1,
                      maxLength: 63,
                      "x-kubernetes-validations": [
                        {
                          rule: "self.matches('^[A-Za-z_][A-Za-z0-9_-]*$')",
                          message:
                            "must begin with a letter or '_' and go on with letters, digits, '_' and '-', such as top",
                        },
                      ],
                    },
                    value: { type: "string", minLength: 1, maxLength: 4096 },
                  },
                },
              },
            },
          },
          parameters: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            maxItems: 64,
            items: {
              type: "object",
              required: ["name", "value"],
              properties: {
                name: { type: "string", minLength: 1, maxLength: 63 },
                value: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
              },
            },
          },
          input: {
            type: "object",
            minProperties: 1,
            maxProperties: 1,
            properties: {
              json: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
              text: { type: "string", maxLength: 262144 },
              base64: {
                type: "string",
                maxLength: 349528,
                "x-kubernetes-validations": [
                  {
                    rule: "self.size() % 4 == 0 && self.matches('^[A-Za-z0-9+/]*={0,2}$')",
                    message: "must be Base64 with padding, in the standard alphabet and without line breaks",
                  },
                ],
              },
              configMapKeyRef: {
                type: "object",
                required: ["name", "key"],
                properties: {
                  name: { type: "string", minLength: 1, maxLength: 253 },
                  key: { type: "string", minLength: 1, maxLength: 253 },
                },
              },
              payload: {
                type: "object",
                required: ["ref"],
                properties: {
                  ref: {
                    type: "string",
                    minLength: 71,
                    maxLength: 71,
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^sha256:[0-9a-f]{64}$')",
                        message: "must be 'sha256:' and 64 lower-case hexadecimal digits",
                      },
                    ],
                  },
                  contentType: {
                    type: "string",
                    minLength: 1,
                    maxLength: 256,
                    default: "application/octet-stream",
                    "x-kubernetes-validations": [
                      {
                        rule: "self.matches('^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?$')",
                        message:
                          "must be a media type of a type, a '/' and a subtype, such as application/json or text/plain; charset=utf-8",
                      },
                    ],
                  },
                },
              },
            },
          },
          priority: { type: "integer", format: "int32", minimum: -1000000, maximum: 1000000, default: 0 },
          suspend: { type: "boolean", default: false },
          cancel: { type: "string", enum: ["None", "Graceful", "Immediate"], default: "None" },
          retryFrom: {
            type: "object",
            required: ["execution"],
            properties: { execution: { type: "string", minLength: 1, maxLength: 63 } },
          },
          ttlSecondsAfterFinished: { type: "integer", format: "int32", minimum: 0, maximum: 31536000 },
        },
      },
      status: {
        type: "object",
        default: {
          phase: "Pending",
          conditions: [
            {
              type: "Ready",
              status: "Unknown",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
            {
              type: "Succeeded",
              status: "Unknown",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
            {
              type: "Reconciling",
              status: "True",
              reason: "Pending",
              message: "Waiting for the controller",
              lastTransitionTime: "1970-01-01T00:00:00Z",
            },
          ],
        },
        properties: {
          observedGeneration: { type: "integer", format: "int64", minimum: 0 },
          phase: {
            type: "string",
            enum: ["Pending", "Queued", "Running", "Suspended", "Succeeded", "Failed", "Cancelled"],
          },
          conditions: {
            type: "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            maxItems: 16,
            items: {
              type: "object",
              required: ["type", "status", "lastTransitionTime", "reason", "message"],
              properties: {
                type: { type: "string", minLength: 1, maxLength: 316 },
                status: { type: "string", enum: ["True", "False", "Unknown"] },
                observedGeneration: { type: "integer", format: "int64", minimum: 0 },
                lastTransitionTime: { type: "string", format: "date-time", maxLength: 64 },
                reason: { type: "string", minLength: 1, maxLength: 1024 },
                message: { type: "string", maxLength: 32768 },
              },
            },
          },
          progress: { type: "string", maxLength: 32 },
          startTime: { type: "string", format: "date-time", maxLength: 64 },
          completionTime: { type: "string", format: "date-time", maxLength: 64 },
          active: {
            type: "object",
            required: ["beforeMs"],
            properties: {
              beforeMs: { type: "integer", format: "int64", minimum: 0 },
              since: { type: "string", format: "date-time", maxLength: 64 },
            },
          },
          queuedSince: { type: "string", format: "date-time", maxLength: 64 },
          pipelineRevision: { type: "string", maxLength: 253 },
          owner: {
            type: "object",
            required: ["replica", "epoch"],
            properties: {
              replica: { type: "string", maxLength: 253 },
              epoch: { type: "integer", format: "int64", minimum: 0 },
              takeovers: { type: "integer", format: "int32", minimum: 0 },
            },
          },
          steps: {
            type: "array",
            "x-kubernetes-list-type": "atomic",
            maxItems: 1032,
            items: {
              type: "object",
              required: ["name", "state"],
              properties: {
                name: { type: "string", maxLength: 253 },
                state: {
                  type: "string",
                  enum: ["Waiting", "Running", "Retrying", "Succeeded", "Failed", "Skipped", "Cancelled"],
                },
                reason: { type: "string", maxLength: 64 },
                attempts: { type: "integer", format: "int32", minimum: 0 },
                startTime: { type: "string", format: "date-time", maxLength: 64 },
                durationMs: { type: "integer", format: "int64", minimum: 0 },
                fuel: { type: "integer", format: "int64", minimum: 0 },
                output: {
                  type: "object",
                  properties: {
                    json: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                    text: { type: "string", maxLength: 4096 },
                    base64: { type: "string", maxLength: 5464 },
                    payload: {
                      type: "object",
                      required: ["ref", "bytes"],
                      properties: {
                        ref: { type: "string", maxLength: 128 },
                        bytes: { type: "integer", format: "int64", minimum: 0 },
                      },
                    },
                    contentType: { type: "string", maxLength: 256 },
                  },
                },
                metadata: {
                  type: "object",
                  maxProperties: 8192,
                  additionalProperties: { type: "string", maxLength: 8192 },
                },
                metadataPayload: {
                  type: "object",
                  required: ["ref", "bytes"],
                  properties: {
                    ref: { type: "string", maxLength: 128 },
                    bytes: { type: "integer", format: "int64", minimum: 0 },
                  },
                },
                error: {
                  type: "object",
                  required: ["code", "kind", "message"],
                  properties: {
                    code: {
                      type: "string",
                      enum: [
                        "InvalidInput",
                        "NotFound",
                        "PayloadTooLarge",
                        "Unavailable",
                        "DeadlineExceeded",
                        "ResourceExhausted",
                        "SandboxViolation",
                        "ProcessorFailed",
                        "ProcessorCrashed",
                        "PayloadLost",
                        "Interrupted",
                        "Cancelled",
                        "Internal",
                      ],
                    },
                    kind: { type: "string", enum: ["User", "Processor", "System"] },
                    message: { type: "string", maxLength: 1024 },
                    processorCode: { type: "string", maxLength: 256 },
                    full: {
                      type: "object",
                      required: ["ref", "bytes"],
                      properties: {
                        ref: { type: "string", maxLength: 128 },
                        bytes: { type: "integer", format: "int64", minimum: 0 },
                      },
                    },
                  },
                },
                items: {
                  type: "object",
                  required: ["total", "succeeded", "failed"],
                  properties: {
                    total: { type: "integer", format: "int32", minimum: 0, maximum: 10000 },
                    succeeded: { type: "integer", format: "int32", minimum: 0 },
                    failed: { type: "integer", format: "int32", minimum: 0 },
                    cancelled: { type: "integer", format: "int32", minimum: 0 },
                    cached: { type: "integer", format: "int32", minimum: 0 },
                    reused: { type: "integer", format: "int32", minimum: 0 },
                    done: { type: "string", maxLength: 32768 },
                    results: {
                      type: "object",
                      required: ["ref", "bytes"],
                      properties: {
                        ref: { type: "string", maxLength: 128 },
                        bytes: { type: "integer", format: "int64", minimum: 0 },
                      },
                    },
                    list: { type: "string", maxLength: 64 },
                    failures: {
                      type: "array",
                      "x-kubernetes-list-type": "atomic",
                      maxItems: 16,
                      items: {
                        type: "object",
                        required: ["index", "code", "message"],
                        properties: {
                          index: { type: "integer", format: "int32", minimum: 0 },
                          code: {
                            type: "string",
                            enum: [
                              "InvalidInput",
                              "NotFound",
                              "PayloadTooLarge",
                              "Unavailable",
                              "DeadlineExceeded",
                              "ResourceExhausted",
                              "SandboxViolation",
                              "ProcessorFailed",
                              "ProcessorCrashed",
                              "PayloadLost",
                              "Interrupted",
                              "Cancelled",
                              "Internal",
                            ],
                          },
                          message: { type: "string", maxLength: 1024 },
                          processorCode: { type: "string", maxLength: 256 },
                        },
                      },
                    },
                  },
                },
                log: {
                  type: "object",
                  required: ["ref", "bytes"],
                  properties: {
                    ref: { type: "string", maxLength: 128 },
                    bytes: { type: "integer", format: "int64", minimum: 0 },
                  },
                },
                request: { type: "string", maxLength: 64 },
                processor: {
                  type: "object",
                  required: ["name"],
                  properties: {
                    name: { type: "string", maxLength: 253 },
                    generation: { type: "integer", format: "int64", minimum: 0 },
                    digests: {
                      type: "array",
                      "x-kubernetes-list-type": "atomic",
                      maxItems: 16,
                      items: { type: "string", maxLength: 128 },
                    },
                  },
                },
              },
            },
          },
          output: {
            type: "object",
            properties: {
              json: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
              text: { type: "string", maxLength: 4096 },
              base64: { type: "string", maxLength: 5464 },
              payload: {
                type: "object",
                required: ["ref", "bytes"],
                properties: {
                  ref: { type: "string", maxLength: 128 },
                  bytes: { type: "integer", format: "int64", minimum: 0 },
                },
              },
              contentType: { type: "string", maxLength: 256 },
            },
          },
          outputs: {
            type: "array",
            "x-kubernetes-list-type": "atomic",
            maxItems: 64,
            items: {
              type: "object",
              required: ["name", "value"],
              properties: {
                name: { type: "string", maxLength: 63 },
                value: {
                  type: "object",
                  properties: {
                    json: { "x-kubernetes-preserve-unknown-fields": true, nullable: true },
                    text: { type: "string", maxLength: 4096 },
                    base64: { type: "string", maxLength: 5464 },
                    payload: {
                      type: "object",
                      required: ["ref", "bytes"],
                      properties: {
                        ref: { type: "string", maxLength: 128 },
                        bytes: { type: "integer", format: "int64", minimum: 0 },
                      },
                    },
                    contentType: { type: "string", maxLength: 256 },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
};
