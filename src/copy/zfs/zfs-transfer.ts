import path from 'node:path';
import type { CommandResult, runCommand } from '../../system/run-command.js';
import { copyFailure, isRetryable } from '../copy-error.js';
import { PACKER, packInto } from '../packed-file.js';
import { HashingStream, pipePrograms, type Piped } from '../stream-pipe.js';
import { zfsStreamFile } from './zfs-contents.js';
import type { Sending } from './zfs-sending.js';
import type { ZfsParent, ZfsSource } from './zfs-source.js';
import { atPlaceOf, type ZfsStore } from './zfs-target.js';

type Argv = readonly [string, ...string[]];

/**
 * What zfs-receive(8) says when the far end has only now noticed, or not even yet, that an earlier connection was lost: it
 * still receives, or had nothing to go on from when it was asked for it, and has now.
 */
const NOT_YET_NOTICED = /\bis busy\b|\bcontains partially-complete state\b/;

/** What every transfer wants. */
export interface Transfer {
  dataDirectory: string;
  signal: AbortSignal;
  limitBytesPerSecond?: number | undefined;
  /** So many bytes of the stream have gone. */
  onBytes: (bytes: number) => void;
  run: typeof runCommand;
}

/** What went. */
export interface Transferred {
  bytes: number;
  sha256: string;
}

/** zfs-send(8): large blocks, compressed and embedded ones as they are; encrypted ones too, unread. No properties. */
function sendCommand(source: ZfsSource, parent: ZfsParent | undefined): Argv {
  const since = parent === undefined ? [] : ['-i', parent.full];
  return ['zfs', 'send', source.isEncrypted ? '-Lcew' : '-Lce', ...since, source.full];
}

async function pipe(
  from: Argv,
  to: Argv,
  through: HashingStream,
  { signal, run, take }: Transfer & Pick<Piped, 'take'>,
): Promise<void> {
  const piped = { from, to, through, signal, ...(take === undefined ? {} : { take }) };
  const { sent, taken } = await pipePrograms(piped, run);
  // 255 is ssh's own: the connection.
  const lost = to[0] === 'ssh' && (taken.exitCode === 255 || NOT_YET_NOTICED.test(taken.stderr));
  if (taken.exitCode !== 0) throw copyFailure(to[0], taken, lost);
  if (sent.exitCode !== 0) throw copyFailure(from[0], sent);
}

/** Writes the stream to a file, packed. Begins anew when it is called again. Rejects with `copyFailed`. */
export async function sendToFile(sending: Sending, transfer: Transfer): Promise<Transferred> {
  const { source, parent, sent } = sending;
  const file = path.join(transfer.dataDirectory, zfsStreamFile(sent.name));
  const through = new HashingStream(transfer.onBytes);
  const take = (stdinFrom: HashingStream): Promise<CommandResult> =>
    packInto(file, { ...transfer, stdinFrom }, transfer.run);
  await pipe(sendCommand(source, parent), PACKER, through, { ...transfer, take });
  return { bytes: through.bytes, sha256: through.digest() };
}

/** The properties of what is received for the first time: they are not sent. */
function propertiesOf({ source, sent }: Sending): string[] {
  return [
    '-o',
    'readonly=on',
    // A dataset that nobody mounts by chance, with the owners and modes of another host.
    ...(sent.kind === 'filesystem' ? ['-o', 'canmount=noauto'] : []),
    // This one decides whether there are ACLs.
    ...(source.acltype === '-' ? [] : ['-o', `acltype=${source.acltype}`]),
  ];
}

async function makeAbove(dataset: string, store: ZfsStore): Promise<void> {
  const above = dataset.slice(0, dataset.lastIndexOf('/'));
  const made = await store.zfs('create', '-p', '-o', 'canmount=off', above);
  if (made.exitCode !== 0 && !/already exists/.test(made.stderr)) throw copyFailure('zfs', made);
}

/** Sends what is still missing of a receive that was cut short. Undefined: that is no longer to be had. */
async function resume(token: string, to: Argv, transfer: Transfer): Promise<Transferred | undefined> {
  const through = new HashingStream(transfer.onBytes, transfer.limitBytesPerSecond);
  try {
    await pipe(['zfs', 'send', '-t', token], to, through, transfer);
  } catch (error) {
    if (transfer.signal.aborted || isRetryable(error) || through.bytes > 0) throw error;
    return undefined;
  }
  return { bytes: through.bytes, sha256: through.digest() };
}

/**
 * Has the dataset receive the stream. Called again, it goes on where an earlier call was cut short, and does nothing where
 * that had ended well. Rejects with `copyFailed`.
 */
export async function sendToDataset(
  sending: Sending,
  store: ZfsStore,
  transfer: Transfer,
): Promise<Transferred> {
  const { source, parent, sent } = sending;
  const { dataset = '' } = sent;
  const through = new HashingStream(transfer.onBytes, transfer.limitBytesPerSecond);
  // An earlier attempt's, whose success nobody heard of.
  if ((await store.get('guid', `${dataset}@${sent.name}`)) === source.guid)
    return { bytes: 0, sha256: through.digest() };
  if (parent === undefined) await makeAbove(dataset, store);
  const receive = (properties: readonly string[]): Argv =>
    atPlaceOf(store.place, ['zfs', 'receive', '-s', '-u', ...properties, `${dataset}@${sent.name}`]);
  const token = await store.get('receive_resume_token', dataset);
  if (token !== undefined) {
    const resumed = await resume(token, receive([]), transfer);
    if (resumed !== undefined) return resumed;
    // It was of what is no longer to be sent.
    await store.abortReceive(dataset);
  }
  const properties = parent === undefined ? propertiesOf(sending) : [];
  await pipe(sendCommand(source, parent), receive(properties), through, transfer);
  return { bytes: through.bytes, sha256: through.digest() };
}
