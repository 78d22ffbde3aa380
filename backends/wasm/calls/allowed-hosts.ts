/** The hosts that a guest may reach. */
export class AllowedHosts {
  readonly #rules: readonly Rule[];

  /** @param hosts each a host name, an address, or `*.suffix` for all names below it; with `:port` for that port only */
  constructor(hosts: readonly string[]) {
    this.#rules = hosts.map(parse);
  }

  has({ protocol, hostname, port }: URL): boolean {
    // A name with the dot of DNS's root at its end is the same name.
    const host = hostname.replace(/\.$/, "");
    const used = port === "" ? { "https:": "443", "http:": "80" }[protocol] : port;
    return this.#rules.some((rule) => {
      if (rule.port !== undefined && rule.port !== used) return false;
      return rule.isSuffix ? host.endsWith(rule.host) : host === rule.host;
    });
  }
}

interface Rule {
  /** In lower case; of a suffix with the dot before it. */
  readonly host: string;
  readonly isSuffix: boolean;
  readonly port: string | undefined;
}

function parse(text: string): Rule {
  const [, star, host = "", port] = /^(\*(?=\.))?(.*?)(?::(\d+))?$/.exec(text.toLowerCase()) ?? [];
  return { host, isSuffix: star !== undefined, port };
}
