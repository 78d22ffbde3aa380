import { MillraceError } from "../../../engine/errors.ts";

/** Hosts that an administrator trusts without TLS: `registry.local`, `registry.local:5000`, `[fd00::1]:5000`. */
export class InsecureHosts {
  /** Ports by host name; undefined: all. */
  readonly #ports = new Map<string, Set<number> | undefined>();

  /**
   * @param hosts each a host name or address, with a port or for all ports
   * @throws InvalidInput for what is none
   */
  constructor(hosts: readonly string[]) {
    for (const text of hosts) {
      const { hostname, port } = parseHost(text);
      const ports = this.#ports.get(hostname) ?? new Set();
      const isWhole = port === undefined || (this.#ports.has(hostname) && this.#ports.get(hostname) === undefined);
      this.#ports.set(hostname, isWhole ? undefined : ports.add(port));
    }
  }

  /** @param hostname as in a URL; an IPv6 address with or without brackets */
  has(hostname: string, port: number): boolean {
    const name = hostname.replace(/^\[(.*)\]$/, "$1");
    return this.#ports.has(name) && (this.#ports.get(name)?.has(port) ?? true);
  }
}

function parseHost(text: string): { readonly hostname: string; readonly port: number | undefined } {
  const [, host = "", digits] = /^(\[[^\]]*\]|[^:/?#@\\]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const hostname = URL.parse(`http://${host}`)?.hostname;
  const port = digits === undefined ? undefined : Number(digits);
  if (host === "" || hostname === undefined || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new MillraceError(
      "InvalidInput",
      `${JSON.stringify(text)} is no host. Write it as registry.example.com or registry.example.com:5000, without a scheme and path.`,
    );
  }
  return { hostname: hostname.replace(/^\[(.*)\]$/, "$1"), port };
}
