import type { RequestOptions } from "node:https";
import { request } from "node:https";
import { text } from "node:stream/consumers";
import { KubeConfig } from "@kubernetes/client-node";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** With the query. */
  readonly path: string;
  readonly body?: unknown;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Calls an API server once, as the kubeconfig's user, with nothing between: no retry, no conversion. */
export async function callApi(kubeconfig: string, { method, path, body }: ApiRequest): Promise<ApiAnswer> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const options: RequestOptions = { method, headers: { "content-type": "application/json" }, agent: false };
  await config.applyToHTTPSOptions(options);
  delete options.agent;
  return new Promise((resolve, reject) => {
    const url = new URL(path, config.getCurrentCluster()?.server);
    const call = request(url, options, (response) => {
      text(response).then((answer) => {
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(answer) as unknown });
      }, reject);
    });
    call.on("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
