import { MillraceError } from "../../engine/errors.ts";

/** Where an HTTP processor is. */
export interface HttpTarget {
  /** Scheme, host and port. */
  readonly origin: string;
  readonly hostname: string;
  readonly port: number;
  readonly secure: boolean;
  readonly path: string;
}

const grpcTarget =
  /^(?:dns:(?:\/\/\/)?)?(?<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?):(?<port>[0-9]{1,5})$/;

/**
 * Checks a gRPC target: `host:port` or `dns:///host:port`. The port is required, as gRPC's default (443) would be TLS by
 * custom while we speak plaintext. Throws InvalidInput.
 */
export function checkedGrpcTarget(endpoint: string): string {
  const port = Number(grpcTarget.exec(endpoint)?.groups?.port ?? 0);
  if (port < 1 || port > 65_535) {
    throw new MillraceError(
      "InvalidInput",
      `spec.rpc.endpoint: ${JSON.stringify(endpoint)} is not a gRPC target; write host:port or dns:///host:port`,
    );
  }
  return endpoint.startsWith("dns:") ? endpoint : `dns:///${endpoint}`;
}

/** Checks an HTTP endpoint and its path. Throws InvalidInput. */
export function httpTarget(endpoint: string, path: string): HttpTarget {
  const url = URL.parse(endpoint);
  const plain = url !== null && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (!plain || url.pathname !== "/" || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new MillraceError(
      "InvalidInput",
      `spec.rpc.endpoint: ${JSON.stringify(endpoint)} is not an http or https URL without user, path and query; ` +
        "the path goes to spec.rpc.http.path",
    );
  }
  if (!/^\/[!"$-~]*$/.test(path)) {
    throw new MillraceError(
      "InvalidInput",
      `spec.rpc.http.path: ${JSON.stringify(path)} must begin with / and hold printable ASCII without space and #`,
    );
  }
  const secure = url.protocol === "https:";
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  return { origin: url.origin, hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"), port, secure, path };
}
