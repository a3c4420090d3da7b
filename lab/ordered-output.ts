type Chunk = string | Buffer;

/** One of several outputs that are written at the same time. */
export interface OrderedOutput {
  write: (chunk: Chunk) => void;
  /** Nothing more comes. Idempotent. */
  end: () => void;
}

/**
 * Outputs of things that run at the same time, for one stream: the first is passed on as it comes, each other one from
 * where the ones before it have ended.
 */
export function orderedOutputs(count: number, sink: (chunk: Chunk) => void): OrderedOutput[] {
  const held = Array.from({ length: count }, (): { chunks: Chunk[]; ended: boolean } => ({
    chunks: [],
    ended: false,
  }));
  let current = 0;
  const passOn = (): void => {
    for (let output = held[current]; output !== undefined; output = held[current]) {
      for (const chunk of output.chunks.splice(0)) sink(chunk);
      if (!output.ended) return;
      current += 1;
    }
  };
  return held.map((output) => ({
    write: (chunk) => {
      output.chunks.push(chunk);
      passOn();
    },
    end: () => {
      output.ended = true;
      passOn();
    },
  }));
}
