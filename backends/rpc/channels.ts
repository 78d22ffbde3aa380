import { Client, connectivityState, credentials } from "@grpc/grpc-js";
import { MillraceError } from "../../engine/errors.ts";
import { maxMetadataBytes } from "../../engine/metadata.ts";
import { maxLogBytes } from "../step-log.ts";

export interface ChannelOptions {
  readonly target: string;
  readonly maxConnections: number;
  /** Of a message's payload; a message may be larger by its metadata and framing. */
  readonly maxReceiveBytes: number;
  /** Called each time that a connection has been made: what is at its other end may be another than before. Must not throw. */
  readonly connected: (channel: Channel) => void;
}

/** A channel, and how many calls are on it. */
export interface Channel {
  readonly client: Client;
  calls: number;
  /** Goes up each time that its connection is made or lost. */
  connection: number;
  isConnected: boolean;
  /** The digest of what is at the other end of this very connection; absent: not known, or it has no version. */
  digest?: string | undefined;
}

/** What a message takes besides its payload: metadata, log, content type, the fields' own bytes, an error's message. */
const envelopeBytes = maxMetadataBytes + 2 * maxLogBytes + 64 * 1024;

/**
 * Connections of one processor, each a channel of its own. A call goes to the channel with the fewest calls; another is
 * opened only when all have some, so that a quiet processor keeps one connection.
 */
export class Channels implements Disposable {
  readonly #options: ChannelOptions;
  readonly #channels: Channel[] = [];
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** The channel for the next call; to be given back. Throws Unavailable once all are closed. */
  take(): Channel {
    if (this.#closed) throw new MillraceError("Unavailable", `the connections to ${this.#options.target} are closed`);
    let best: Channel | undefined;
    for (const channel of this.#channels) {
      if (best === undefined || channel.calls < best.calls) best = channel;
    }
    if (best === undefined || (best.calls > 0 && this.#channels.length < this.#options.maxConnections)) {
      best = this.#open();
    }
    best.calls += 1;
    return best;
  }

  giveBack(channel: Channel): void {
    channel.calls -= 1;
  }

  /** Of what is at the other ends, each once; empty as long as that of one connection is not known. */
  get digests(): readonly string[] {
    const connected = this.#channels.filter(({ isConnected }) => isConnected);
    const digests = connected.flatMap(({ digest }) => digest ?? []);
    return digests.length < connected.length ? [] : [...new Set(digests)].sort();
  }

  /** Closes all connections; idempotent. Calls still on them end with CANCELLED. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const { client } of this.#channels.splice(0)) client.close();
  }

  #open(): Channel {
    const { target, maxReceiveBytes } = this.#options;
    const client = new Client(target, credentials.createInsecure(), {
      // Channels to the same target with the same options share connections otherwise.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": maxReceiveBytes + envelopeBytes,
      "grpc.max_send_message_length": -1,
      // A server that comes back is found within half a second, a new address within one; the defaults are 2 minutes and 30 s.
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 500,
      "grpc.dns_min_time_between_resolutions_ms": 1000,
      "grpc.service_config_disable_resolution": 1,
      "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] }),
      // Or the environment's http_proxy would be used.
      "grpc.enable_http_proxy": 0,
    });
    const channel: Channel = { client, calls: 0, connection: 0, isConnected: false };
    this.#channels.push(channel);
    this.#watch(channel);
    return channel;
  }

  #watch(channel: Channel): void {
    const inner = channel.client.getChannel();
    const before = inner.getConnectivityState(false);
    if (this.#closed || before === connectivityState.SHUTDOWN) return;
    inner.watchConnectivityState(before, Number.POSITIVE_INFINITY, () => {
      if (this.#closed) return;
      channel.connection += 1;
      channel.digest = undefined;
      channel.isConnected = inner.getConnectivityState(false) === connectivityState.READY;
      this.#watch(channel);
      if (channel.isConnected) this.#options.connected(channel);
    });
  }
}
