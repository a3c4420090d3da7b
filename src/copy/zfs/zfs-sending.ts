import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import { exists } from '../../system/exists.js';
import type { CopyRequest } from '../engine.js';
import type { SnapshotToSend } from '../filesystem/sent-snapshots.js';
import { findZfsContents, zfsStreamFile, type SentZfsSnapshot, type ZfsContents } from './zfs-contents.js';
import { findZfsParent, readZfsSource, type ZfsParent, type ZfsSource } from './zfs-source.js';
import type { ZfsStore } from './zfs-target.js';

/** What is to be sent, and of what. */
export interface Sending {
  snapshot: SnapshotToSend;
  source: ZfsSource;
  parent: ZfsParent | undefined;
  /** Why it is no increment although there was a base. */
  warning: string | undefined;
  /** What the backup will say of it. */
  sent: SentZfsSnapshot;
}

/** Where it is to go. */
export interface SendingPlace {
  request: CopyRequest;
  /** Of the snapshots of the backup. */
  index: number;
  /** Undefined: to files. */
  store: ZfsStore | undefined;
}

/** `dataset` where they are received, `stream` where they are kept as files. */
export function kindOf(store: ZfsStore | undefined): ZfsContents['kind'] {
  return store === undefined ? 'stream' : 'dataset';
}

/** Whether an increment of it can be added to where it is: nothing came after it, but what is to be sent itself. */
async function isThere(
  sent: SentZfsSnapshot,
  { base, next, store }: { base: string; next: string; store: ZfsStore | undefined },
): Promise<boolean> {
  if (store === undefined) return await exists(path.join(base, zfsStreamFile(sent.name)));
  if (sent.dataset === undefined) return false;
  const snapshots = await store.snapshotsOf(sent.dataset);
  const guids: (string | undefined)[] = [];
  for (const name of snapshots.slice(-2)) guids.push(await store.get('guid', name));
  if (guids.at(-1) === next) guids.pop();
  return guids.at(-1) === sent.guid;
}

async function parentOf(
  { ref }: SnapshotToSend,
  source: ZfsSource,
  { request: { base }, store }: SendingPlace,
): Promise<ZfsParent | string | undefined> {
  if (base === undefined) return undefined;
  const contents = await findZfsContents(base.dataDirectory).catch(() => undefined);
  const where = { base: base.dataDirectory, next: source.guid, store };
  return await findZfsParent(base, {
    ref,
    source,
    kind: kindOf(store),
    contents,
    isThere: (sent) => isThere(sent, where),
  });
}

/** Looks at a snapshot, and decides what is sent of it and where it goes. Rejects with `copyFailed`, `usage`. */
export async function planSending(snapshot: SnapshotToSend, place: SendingPlace): Promise<Sending> {
  const { ref } = snapshot;
  const source = await readZfsSource(ref);
  if (source === undefined) {
    throw new FsbackupError('copyFailed', `the snapshot ${ref.name} is not there any more`, {
      hint: 'See who destroys snapshots in its pool, and run it again.',
    });
  }
  const found = await parentOf(snapshot, source, place);
  const parent = typeof found === 'string' ? undefined : found;
  const { request, index, store } = place;
  const { job, backupId } = request.backup;
  const dataset =
    store === undefined
      ? {}
      : { dataset: parent?.sent.dataset ?? `${store.place.dataset}/${job}/${backupId}-${index}` };
  return {
    snapshot,
    source,
    parent,
    warning:
      typeof found === 'string' ? `the backup of ${ref.mountpoint} is a full one: ${found}` : undefined,
    sent: {
      name: ref.name,
      origin: ref.data['dataset'] ?? '',
      kind: ref.data['kind'] === 'volume' ? 'volume' : 'filesystem',
      isRaw: source.isEncrypted,
      guid: source.guid,
      ...dataset,
      bytes: 0,
      ...(parent === undefined ? {} : { parent: { backupId: parent.backupId, name: parent.sent.name } }),
    },
  };
}
