import { closeSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as control from '../../../src/freeze/control-client.js';
import { NoReply } from '../../../src/freeze/frame-connection.js';
import {
  findRecord,
  writeStatus,
  type FreezeRecordBody,
  type FreezeStatus,
} from '../../../src/freeze/freeze-record.js';
import * as guards from '../../../src/freeze/kill-guards.js';
import { openMount } from '../../../src/freeze/mountpoint.js';
import { FrameType, lossNumber, SlotState, type Reply } from '../../../src/freeze/protocol.js';
import { resetByHand, thawAll, thawMountpoints } from '../../../src/freeze/release-by-hand.js';
import * as thaws from '../../../src/freeze/thaw-without-guards.js';
import { findUntold, keepUntold } from '../../../src/freeze/untold-losses.js';
import * as native from '../../../src/system/native.js';
import { freezeBody, putOnRecord } from '../../support/on-record.js';
import { timesOpen } from '../../support/times-open.js';

// Other tests of this process have loaded what is mocked here.
vi.hoisted(() => vi.resetModules());
// Nothing is frozen here: records are read, and guards answer as they are told to.
vi.mock('../../../src/freeze/control-client.js', { spy: true });
vi.mock('../../../src/freeze/kill-guards.js', { spy: true });
vi.mock('../../../src/freeze/thaw-without-guards.js', { spy: true });
vi.mock('../../../src/system/native.js', { spy: true });

const LOST = { kind: 'lost', reason: 'timeout', at: '2026-01-02T03:04:05.000Z' } as const;
const ALIVE = { force: false };

let directory: string;
let here: Pick<FreezeRecordBody, 'majorMinor' | 'fstype'>;
let fds: number[];
let thawedInPlace: string[];

beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'release-'));
  vi.stubEnv('FSBACKUP_RUN_DIR', path.join(directory, 'run'));
  mkdirSync(path.join(directory, 'run'));
  const { fd, mount } = await openMount(directory);
  closeSync(fd);
  here = { majorMinor: mount.majorMinor, fstype: mount.fstype };
  fds = [];
  thawedInPlace = [];
  vi.mocked(thaws.thawWithoutGuards).mockImplementation(async ({ mountpoint }) => {
    thawedInPlace.push(mountpoint);
    return undefined;
  });
  vi.mocked(native.thawInBackground).mockResolvedValue();
});
afterEach(() => {
  vi.resetAllMocks();
  die();
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** A freeze by hand of the filesystem here, that is guarded until `die`. */
async function held(
  changes: Partial<FreezeRecordBody> = {},
  status?: FreezeStatus,
): Promise<FreezeRecordBody> {
  const body = freezeBody({ ...here, mountpoint: directory, freezeId: 'second00', ...changes });
  fds.push(await putOnRecord(body, status));
  return body;
}

/** Another one, of a filesystem that is not mounted. */
async function otherHeld(changes: Partial<FreezeRecordBody> = {}): Promise<FreezeRecordBody> {
  return await held({ majorMinor: '0:999999', mountpoint: '/other', ...changes });
}

function die(): void {
  for (const fd of fds.splice(0)) closeSync(fd);
}

function lostBefore(): void {
  const body = freezeBody({ ...here, mountpoint: directory, freezeId: 'first000' });
  keepUntold({ body, status: { ...LOST, reason: 'max-hold' }, guarded: false });
}

type Answer = Partial<Pick<Reply, 'error'>> & { state?: number; loss?: number; deadlineMs?: number };

function reply({ error = 0, state = SlotState.held, loss = 0, deadlineMs = 0 }: Answer = {}): Reply {
  return {
    type: 0,
    sequence: 0,
    error,
    warnings: 0,
    maxHoldMs: 0,
    watchdogPid: 0,
    secondPid: 0,
    nowMs: 1000,
    slots: [
      {
        state,
        loss,
        freezeErrno: 0,
        thawErrno: 0,
        callMs: 0,
        heldMs: 0,
        thawBeginMs: 0,
        thawedMs: 0,
        deadlineMs,
      },
    ],
  };
}

/** The watchdog's answers, by what it is asked; undefined: it is gone. */
function answering(answers: Readonly<Record<number, Reply | Error | undefined>>): void {
  vi.mocked(control.askWatchdog).mockImplementation(async (_, { type }) => {
    const answer = answers[type];
    if (answer instanceof Error) throw answer;
    return answer;
  });
}

const meant = () => ({ path: directory, freezeId: undefined });
const status = (): unknown => findRecord(here)?.status;

describe('a reset by hand', () => {
  it('gives it time, as it was frozen with where none is said', async () => {
    await held({ timeoutSeconds: 7 });
    answering({ [FrameType.reset]: reply({ deadlineMs: 8000 }) });
    expect(await resetByHand(meant(), undefined)).toEqual({ expiresInMs: 7000 });
    await resetByHand(meant(), 5000);
    const asked = vi.mocked(control.askWatchdog).mock.calls.map(([, request]) => request.timeoutMs);
    expect(asked).toEqual([7000, 5000]);
  });

  it('is of what was frozen by hand alone', async () => {
    await held({ detached: false });
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({
      code: 'notFrozen',
      message: expect.stringContaining('is held by a running command') as string,
    });
    expect(control.askWatchdog).not.toHaveBeenCalled();
  });

  it('touches nothing where it may mean one that was lost before', async () => {
    await held();
    lostBefore();
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({ code: 'freezeLost' });
    expect(control.askWatchdog).not.toHaveBeenCalled();
  });

  it('tells of a loss that the watchdog knows', async () => {
    await held();
    answering({ [FrameType.reset]: reply({ loss: lossNumber('third-party') }) });
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({ code: 'freezeLost' });
  });

  it('tells what is on record of one whose guards are gone', async () => {
    await held();
    answering({});
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({
      code: 'freezeLost',
      message: expect.stringContaining('a watchdog was killed') as string,
    });
    vi.mocked(control.askWatchdog).mockImplementation(async () => {
      writeStatus(fds[0] ?? -1, { kind: 'thawed' });
      return undefined;
    });
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({ code: 'notFrozen' });
  });

  it.each([
    ['does not answer', new NoReply(1000), 'freezeLost', 'does not answer'],
    ['is at the freeze still', reply({ state: SlotState.calling }), 'notFrozen', 'is not frozen yet'],
    ['holds it', reply(), 'freezeLost', 'does not answer'],
  ] as const)('that is not answered, where the watchdog %s', async (_, toStatus, code, message) => {
    await held();
    answering({ [FrameType.reset]: new NoReply(1000), [FrameType.status]: toStatus });
    await expect(resetByHand(meant(), 1)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
  });

  it('does not take for an answer what went wrong otherwise', async () => {
    await held();
    const failure = Object.assign(new Error('no'), { code: 'EACCES' });
    answering({ [FrameType.reset]: failure });
    await expect(resetByHand(meant(), 1)).rejects.toBe(failure);
  });
});

describe('a thaw by hand', () => {
  it('is done by the watchdog, and by nobody else', async () => {
    await held();
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    expect(await thawMountpoints([directory], ALIVE)).toEqual({ thawed: [directory], failures: [] });
    expect(control.askWatchdog).toHaveBeenCalledOnce();
    expect(thawedInPlace).toEqual([]);
    expect(native.thawInBackground).not.toHaveBeenCalled();
  });

  it('is done once for all names of a filesystem, and whatever is wrong with others', async () => {
    const alias = path.join(directory, 'alias');
    symlinkSync(directory, alias);
    await held();
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    const none = path.join(directory, 'none');
    expect(await thawMountpoints([alias, none, directory], ALIVE)).toMatchObject({
      thawed: [alias, directory],
      failures: [{ code: 'usage' }],
    });
    expect(control.askWatchdog).toHaveBeenCalledOnce();
  });

  it('tells of a loss, once for the next freeze', async () => {
    await held({}, LOST);
    die();
    const { thawed, failures } = await thawMountpoints([directory], ALIVE);
    expect(thawed).toEqual([]);
    expect(failures).toMatchObject([{ code: 'freezeLost' }]);
    expect(status()).toEqual({ ...LOST, isTold: true });
  });

  it('tells of nothing as lost that is not known to be', async () => {
    await held({}, LOST);
    die();
    const failure = new Error('EIO');
    await held();
    answering({ [FrameType.thaw]: failure });
    expect((await thawMountpoints([directory], ALIVE)).failures).toEqual([failure]);
    expect(status()).toEqual({ kind: 'armed' });
  });

  it('thaws, and says that it may have meant one that was lost before, which is told by that', async () => {
    await held();
    lostBefore();
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    const { thawed, failures } = await thawMountpoints([directory], ALIVE);
    expect(thawed).toEqual([]);
    expect(failures).toMatchObject([{ code: 'freezeLost' }]);
    expect(control.askWatchdog).toHaveBeenCalledOnce();
    expect(findUntold(here)).toBeUndefined();
  });

  it('tells of a loss that the watchdog knows', async () => {
    await held();
    answering({ [FrameType.thaw]: reply({ loss: lossNumber('timeout') }) });
    expect((await thawMountpoints([directory], ALIVE)).failures).toMatchObject([{ code: 'freezeLost' }]);
    expect(thawedInPlace).toEqual([]);
  });

  it('is done in the place of guards that do not answer, or are gone with it on record as held', async () => {
    await held();
    answering({ [FrameType.thaw]: new NoReply(1000) });
    expect(await thawMountpoints([directory], ALIVE)).toEqual({ thawed: [directory], failures: [] });
    expect(thawedInPlace).toEqual([directory]);
    expect(vi.mocked(thaws.thawWithoutGuards).mock.calls[0]?.[1]).toEqual(new Set([here.majorMinor]));
    answering({});
    expect(await thawMountpoints([directory], ALIVE)).toEqual({ thawed: [directory], failures: [] });
    expect(thawedInPlace).toEqual([directory, directory]);
  });

  it('says why it was lost where it is done in the place of guards', async () => {
    await held();
    answering({ [FrameType.thaw]: new NoReply(1000) });
    vi.mocked(thaws.thawWithoutGuards).mockResolvedValue('guard-died');
    expect((await thawMountpoints([directory], ALIVE)).failures).toMatchObject([
      { code: 'freezeLost', message: expect.stringContaining('a watchdog was killed') as string },
    ]);
  });

  it.each([
    [{ kind: 'thawed' }, []],
    [LOST, [{ code: 'freezeLost', message: expect.stringContaining('no reset came') as string }]],
  ] as const)('believes the record of guards that have ended meanwhile: %j', async (ended, failures) => {
    await held();
    vi.mocked(control.askWatchdog).mockImplementation(async () => {
      writeStatus(fds[0] ?? -1, ended);
      return undefined;
    });
    expect((await thawMountpoints([directory], ALIVE)).failures).toMatchObject(failures);
    expect(thawedInPlace).toEqual([]);
  });

  it('is done in the place of guards one after the other, past a failure', async () => {
    await held({ since: '2026-01-02T03:05:00.000Z' });
    await otherHeld();
    answering({ [FrameType.thaw]: new NoReply(1000) });
    let fail: (error: Error) => void = () => undefined;
    vi.mocked(thaws.thawWithoutGuards).mockImplementationOnce(
      async () => await new Promise((_, reject) => (fail = reject)),
    );
    const thawing = thawAll();
    await vi.waitFor(() => expect(thaws.thawWithoutGuards).toHaveBeenCalled());
    await sleep(20);
    expect(thaws.thawWithoutGuards).toHaveBeenCalledOnce();
    const failure = new Error('FITHAW keeps failing');
    fail(failure);
    expect(await thawing).toEqual({ thawed: ['/other'], failures: [failure] });
    expect(thawedInPlace).toEqual(['/other']);
  });

  it('does not take for a loss what guards write down whom we end for another', async () => {
    await held({ since: '2026-01-02T03:05:00.000Z' });
    await otherHeld();
    let hangUp: (nothing: undefined) => void = () => undefined;
    vi.mocked(control.askWatchdog)
      .mockRejectedValueOnce(new NoReply(1000))
      .mockReturnValueOnce(new Promise((resolve) => (hangUp = resolve)));
    vi.mocked(thaws.thawWithoutGuards).mockImplementation(async () => {
      const other = fds[1] ?? -1;
      writeStatus(other, { ...LOST, reason: 'guard-died' });
      hangUp(undefined);
      await sleep(20);
      writeStatus(other, { kind: 'thawed' });
      return undefined;
    });
    expect(await thawAll()).toEqual({ thawed: [directory, '/other'], failures: [] });
    expect(thaws.thawWithoutGuards).toHaveBeenCalledOnce();
  });

  it('is waited for as long as the watchdog is at it', async () => {
    await held({ watchdogPids: [11, 12] });
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    await thawMountpoints([directory], ALIVE);
    const isAtIt = vi.mocked(control.askWatchdog).mock.calls[0]?.[3] ?? (() => undefined);
    vi.mocked(guards.isGuard).mockImplementation((pid) => pid === 11);
    vi.mocked(guards.isStopped).mockReturnValue(false);
    expect(isAtIt()).toBe(true);
    vi.mocked(guards.isStopped).mockReturnValue(true);
    expect(isAtIt()).toBe(false);
    vi.mocked(guards.isStopped).mockReturnValue(false);
    const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 31_000);
    expect(isAtIt()).toBe(false);
    now.mockRestore();
  });
});

describe('a thaw of all', () => {
  it('is one of what is on record as held, the last first', async () => {
    await held({ since: '2026-01-02T03:05:00.000Z' });
    await otherHeld();
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    expect(await thawAll()).toEqual({ thawed: [directory, '/other'], failures: [] });
    writeStatus(fds[0] ?? -1, { kind: 'thawed' });
    expect((await thawAll()).thawed).toEqual(['/other']);
  });

  it('that is orphaned leaves alone what was left to the guards, and what is a living command’s', async () => {
    await held({ detached: true, owner: { pid: 4_194_305, command: 'dead' } });
    await otherHeld({ detached: false, owner: { pid: process.pid, command: 'alive' } });
    answering({ [FrameType.thaw]: reply({ state: SlotState.thawed }) });
    expect(await thawAll({ orphaned: true })).toEqual({ thawed: [], failures: [] });
    fds.push(
      await putOnRecord(
        freezeBody({
          majorMinor: '0:999998',
          mountpoint: '/orphan',
          detached: false,
          owner: { pid: 4_194_305, command: 'dead' },
        }),
      ),
    );
    expect(await thawAll({ orphaned: true })).toEqual({ thawed: ['/orphan'], failures: [] });
  });
});

describe('a thaw by force', () => {
  const FORCE = { force: true };

  it('asks nobody, and ends on record what nobody guards', async () => {
    await held();
    die();
    expect(await thawMountpoints([directory], FORCE)).toEqual({ thawed: [directory], failures: [] });
    expect(native.thawInBackground).toHaveBeenCalledOnce();
    expect(control.askWatchdog).not.toHaveBeenCalled();
    expect(status()).toMatchObject({ kind: 'lost', reason: 'third-party' });
    expect(timesOpen(directory)).toBe(0);
  });

  it('is done though fsbackup never froze it', async () => {
    expect(await thawMountpoints([directory], FORCE)).toEqual({ thawed: [directory], failures: [] });
  });

  it('leaves on record what ended before, and what guards look after', async () => {
    await held({}, { kind: 'thawed' });
    die();
    await thawMountpoints([directory], FORCE);
    expect(status()).toEqual({ kind: 'thawed' });
    await held();
    await thawMountpoints([directory], FORCE);
    expect(status()).toEqual({ kind: 'armed' });
  });

  it('says of what was not frozen that it was not, and why else it failed; nothing stays open', async () => {
    const not = Object.assign(new Error('no'), { code: 'EINVAL' });
    vi.mocked(native.thawInBackground).mockRejectedValueOnce(not);
    expect((await thawMountpoints([directory], FORCE)).failures).toMatchObject([
      { code: 'notFrozen', message: `${directory} was not frozen`, cause: not },
    ]);
    const failure = Object.assign(new Error('EIO'), { code: 'EIO' });
    vi.mocked(native.thawInBackground).mockRejectedValueOnce(failure);
    expect((await thawMountpoints([directory], FORCE)).failures).toEqual([failure]);
    expect(timesOpen(directory)).toBe(0);
  });
});
