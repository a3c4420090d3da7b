import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { isRetryable } from '../../../src/copy/copy-error.js';
import type { Sending } from '../../../src/copy/zfs/zfs-sending.js';
import { ZfsStore } from '../../../src/copy/zfs/zfs-target.js';
import { sendToDataset, type Transferred } from '../../../src/copy/zfs/zfs-transfer.js';
import type { CommandResult, runCommand } from '../../../src/system/run-command.js';

const DATASET = 'tank/backups/srv/1-0';
const SNAPSHOT = `${DATASET}@now`;

function ended(exitCode: number, stderr = '', stdout = ''): CommandResult {
  const none = { signal: undefined, notFound: false, timedOut: false, aborted: false };
  return { exitCode, stdout, stderr, ...none };
}

/** The host that backups are sent to, and what is sent. */
class FarZfs {
  /** By name: what `zfs get` answers. */
  readonly properties = new Map<string, string>();
  readonly sent: string[] = [];
  readonly received: { args: string; stream: string }[] = [];
  /** How the next receives end. */
  readonly failures: CommandResult[] = [];
  isGone = false;
  /** Tokens that `zfs send -t` takes. */
  tokens = new Set<string>();

  readonly run: typeof runCommand = async (argv, options) => {
    const far = argv[0] === 'ssh';
    if (far && this.isGone) return ended(255, 'ssh: connect to host nas port 22: No route to host');
    const words = far ? [...(argv.at(-1) ?? '').matchAll(/'([^']*)'/g)].map(([, word = '']) => word) : argv;
    const line = words.slice(1).join(' ');
    if (line.startsWith('send ')) return await this.#send(line, options?.stdoutTo);
    if (line.startsWith('receive -A')) {
      this.properties.delete(`receive_resume_token ${DATASET}`);
      return ended(0);
    }
    if (line.startsWith('receive ')) return await this.#receive(line, options?.stdinFrom);
    if (!line.startsWith('get ')) return ended(0);
    const value = this.properties.get(words.slice(-2).join(' '));
    return value === undefined ? ended(1, 'dataset does not exist') : ended(0, '', `${value}\n`);
  };

  async #send(line: string, to: Writable | undefined): Promise<CommandResult> {
    const token = / -t (\S+)/.exec(line)?.[1];
    const isKnown = token === undefined || this.tokens.has(token);
    this.sent.push(line);
    to?.end(isKnown ? line : '');
    return isKnown ? ended(0) : ended(1, 'cannot resume send: it no longer exists');
  }

  async #receive(args: string, from: Readable | undefined): Promise<CommandResult> {
    const stream = from === undefined ? '' : await text(from);
    const failure = stream === '' ? ended(1, 'failed to read from stream') : this.failures.shift();
    if (failure !== undefined) return failure;
    this.received.push({ args, stream });
    return ended(0);
  }
}

describe('a snapshot that a dataset receives', () => {
  let far: FarZfs;
  let bytes: number;

  beforeEach(() => {
    far = new FarZfs();
    bytes = 0;
  });

  const source = { full: 'pool/srv@now', guid: '7', isEncrypted: false, acltype: 'posix' };
  const sent = {
    name: 'now',
    origin: 'pool/srv',
    kind: 'filesystem',
    isRaw: false,
    guid: '7',
    dataset: DATASET,
    bytes: 0,
  } as const;

  async function send(
    changes: Partial<Pick<Sending, 'parent' | 'source'>> = {},
    limitBytesPerSecond?: number,
  ): Promise<Transferred> {
    const ref = {} as Sending['snapshot']['ref'];
    const snapshot = { ref, trees: [], majorMinor: '0:1' };
    const sending = { snapshot, source, parent: undefined, warning: undefined, sent, ...changes };
    const store = new ZfsStore({ host: 'nas', dataset: 'tank/backups' }, far.run);
    const { signal } = new AbortController();
    const onBytes = (done: number): void => void (bytes = done);
    const transfer = { dataDirectory: '/d', signal, limitBytesPerSecond, onBytes, run: far.run };
    return await sendToDataset(sending, store, transfer);
  }

  it('is sent whole, without properties, and gets those that a backup wants', async () => {
    const done = await send();
    const stream = 'send -Lce pool/srv@now';
    expect(far.received).toEqual([
      {
        args: `receive -s -u -o readonly=on -o canmount=noauto -o acltype=posix ${SNAPSHOT}`,
        stream,
      },
    ]);
    expect([done.bytes, bytes]).toEqual([stream.length, stream.length]);
  });

  it('is an increment of the one that was kept, raw where it is encrypted', async () => {
    const parent = { full: 'pool/srv@before', backupId: '0', sent };
    await send({ parent, source: { ...source, isEncrypted: true } });
    expect(far.received).toEqual([
      { args: `receive -s -u ${SNAPSHOT}`, stream: 'send -Lcew -i pool/srv@before pool/srv@now' },
    ]);
  });

  it('is sent no faster than its limit, whether anew or where it was cut short', async () => {
    const origin = `pool/${'x'.repeat(2000)}@now`;
    const begun = performance.now();
    await send({ source: { ...source, full: origin } }, 4096);
    far.properties.set(`receive_resume_token ${DATASET}`, 'y'.repeat(2000));
    far.tokens.add('y'.repeat(2000));
    await send({}, 4096);
    expect(far.received.map(({ stream }) => stream.length)).toEqual([2019, 2008]);
    // Some 2 KB each, the first 512 bytes of which go at once.
    expect(performance.now() - begun).toBeGreaterThan(600);
  });

  it('is not sent again when it is there', async () => {
    far.properties.set(`guid ${SNAPSHOT}`, '7');
    expect(await send()).toMatchObject({ bytes: 0 });
    expect(far.sent).toEqual([]);
  });

  it('goes on where it was cut short', async () => {
    far.properties.set(`receive_resume_token ${DATASET}`, '1-abc');
    far.tokens.add('1-abc');
    await send();
    expect(far.received).toEqual([{ args: `receive -s -u ${SNAPSHOT}`, stream: 'send -t 1-abc' }]);
  });

  it('is sent anew, in the same attempt, when what was cut short is no longer to be had', async () => {
    far.properties.set(`receive_resume_token ${DATASET}`, '1-abc');
    await send();
    expect(far.sent).toEqual(['send -t 1-abc', 'send -Lce pool/srv@now']);
    expect(far.received).toMatchObject([{ stream: 'send -Lce pool/srv@now' }]);
    expect(far.properties.has(`receive_resume_token ${DATASET}`)).toBe(false);
  });

  it('is worth another try when its host does not even answer', async () => {
    far.isGone = true;
    const error: unknown = await send().catch((thrown: unknown) => thrown);
    expect(isRetryable(error)).toBe(true);
    far.isGone = false;
    await send();
    expect(far.received).toHaveLength(1);
  });

  it.each([
    [255, 'Connection to nas closed by remote host.', true],
    [1, `cannot receive resume stream: destination ${DATASET} is busy`, true],
    [
      1,
      `cannot receive new filesystem stream: destination ${DATASET} contains partially-complete state from "zfs receive -s".`,
      true,
    ],
    [1, `cannot receive new filesystem stream: destination ${DATASET} space quota exceeded.`, false],
    [1, 'cannot receive new filesystem stream: out of space', false],
    [1, 'cannot receive: permission denied', false],
  ])('that ends with %i "%s" is worth another try: %s', async (exitCode, stderr, isWorth) => {
    far.failures.push(ended(exitCode, stderr));
    const error: unknown = await send().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'copyFailed', exitCode: 40 });
    expect(isRetryable(error)).toBe(isWorth);
  });
});
