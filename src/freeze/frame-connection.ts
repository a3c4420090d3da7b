import type { Socket } from 'node:net';
import { decodeReply, encodeRequest, FRAME_SIZE, FrameType, type Reply, type Request } from './protocol.js';

/** The longest that a timer can be set to: for who looks otherwise whether an answer may still come. */
export const NO_LIMIT_MS = 2 ** 31 - 1;

/** The guard at the other end is gone. */
export class ConnectionClosed extends Error {
  constructor() {
    super('the watchdog closed the connection');
    this.name = 'ConnectionClosed';
  }
}

/** No answer came in time: the guard is stopped, or waits in the kernel. */
export class NoReply extends Error {
  constructor(timeoutMs: number) {
    super(`the watchdog did not answer within ${timeoutMs} ms`);
    this.name = 'NoReply';
  }
}

interface Waiting {
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
}

/** Requests and replies over a stream socket to a guard. One answer for each request, in any order of their ends. */
export class FrameConnection {
  /** Called for each event, which nobody asked for. */
  onEvent: ((event: Reply) => void) | undefined;
  /** Called once, when the other end is gone. */
  onClose: (() => void) | undefined;

  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;
  #received = Buffer.alloc(0);
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    // An error is always followed by 'close'.
    socket.on('error', () => undefined);
    socket.on('end', () => this.#close());
    socket.on('close', () => this.#close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Rejects with ConnectionClosed or NoReply. A reply that comes after NoReply is dropped. */
  async request(request: Omit<Request, 'sequence'>, timeoutMs: number): Promise<Reply> {
    if (this.#closed) throw new ConnectionClosed();
    this.#sequence += 1;
    const sequence = this.#sequence;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Reply>((resolve, reject) => {
        this.#waiting.set(sequence, { resolve, reject });
        timer = setTimeout(() => reject(new NoReply(timeoutMs)), timeoutMs);
        this.#socket.write(encodeRequest({ ...request, sequence }));
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(sequence);
    }
  }

  /** Hangs up. Idempotent. */
  destroy(): void {
    this.#socket.destroy();
    this.#close();
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= FRAME_SIZE) {
      const frame = this.#received.subarray(0, FRAME_SIZE);
      this.#received = this.#received.subarray(FRAME_SIZE);
      let reply: Reply;
      try {
        reply = decodeReply(frame);
      } catch {
        this.destroy();
        return;
      }
      if (reply.type === FrameType.event) this.onEvent?.(reply);
      else this.#waiting.get(reply.sequence)?.resolve(reply);
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const waiting of this.#waiting.values()) waiting.reject(new ConnectionClosed());
    this.onClose?.();
  }
}
