import type { CopyRequest, CopyResult, KeptSnapshot } from '../engine.js';
import { writeSentDigests, type StoredFile } from './sent-digests.js';

/** What one snapshot that was sent means for its backup. */
export interface SentPart {
  /** Undefined: no increment can be made of it. */
  kept: KeptSnapshot | undefined;
  /** What should be known of it, as a sentence without its full stop. */
  warning: string | undefined;
  /** The backup without which it cannot be restored. */
  needs: string | undefined;
  /** The files that it is stored as, whose digests are known. */
  stored: readonly StoredFile[];
}

/** Sends one after the other, and tells of the bytes of all as they go. `onBytes` takes those of the one at hand so far. */
export async function sendEach<Item, Sent>(
  items: readonly Item[],
  { onProgress }: Pick<CopyRequest, 'onProgress'>,
  send: (item: Item, onBytes: (bytes: number) => void) => Promise<Sent>,
): Promise<{ sent: Sent[]; bytes: number }> {
  const sent: Sent[] = [];
  let bytes = 0;
  for (const item of items) {
    const before = bytes;
    const onBytes = (more: number): void => {
      bytes = before + more;
      onProgress({ bytes, files: sent.length });
    };
    sent.push(await send(item, onBytes));
  }
  onProgress({ bytes, files: sent.length });
  return { sent, bytes };
}

/** `CopyResult` of a copy that sent these, with the list of the digests of what is stored. */
export async function resultOf(
  parts: readonly SentPart[],
  { bytes, contents, digests }: { bytes: number; contents: StoredFile } & Pick<CopyRequest, 'digests'>,
): Promise<CopyResult> {
  const needs = [...new Set(parts.flatMap((part) => part.needs ?? []))];
  const keep = parts.flatMap(({ kept }) => kept ?? []);
  const stored = [contents, ...parts.flatMap((part) => part.stored)];
  return {
    bytes,
    files: parts.length,
    unreadable: [],
    warnings: parts.flatMap(({ warning }) => warning ?? []),
    ...(keep.length === 0 ? {} : { keep }),
    ...(needs.length === 0 ? {} : { needs }),
    ...(digests === undefined ? {} : { digests: await writeSentDigests(digests, stored) }),
  };
}
