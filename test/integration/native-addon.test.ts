import { spawn } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lossNumber, SlotState } from '../../src/freeze/protocol.js';
import { attributesOf } from '../../src/system/attributes.js';
import {
  boottimeMs,
  createPage,
  ficlone,
  forgetCached,
  freezeSlot,
  loopReads,
  probeFrozen,
  probeSlot,
  readAttributes,
  readPage,
  setAttribute,
  syncfs,
  thawInBackground,
  thawSlot,
  tryLock,
} from '../../src/system/native.js';
import { describeNeeding } from '../support/capabilities.js';
import { ended, eventually } from '../support/freeze-harness.js';
import { GuardsByHand } from '../support/guards-by-hand.js';
import { watchOpenFiles } from '../support/open-files.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';
import { waitingThread } from '../support/waiting-thread.js';

const BAD_FD = 99_999;

describeNeeding(['root', 'loop', 'ext4', 'xfs'], 'the addon', () => {
  const disks = throwawayDisks(afterAll);
  let ext4: ThrowawayFilesystem;
  let xfs: ThrowawayFilesystem;
  let upper: ThrowawayFilesystem;
  let fd: number;
  let lowerFd: number;
  let upperFd: number;
  const hand = new GuardsByHand(disks);

  beforeAll(async () => {
    ext4 = await disks.filesystem({ fstype: 'ext4' });
    xfs = await disks.filesystem({ fstype: 'xfs' });
    upper = await disks.filesystem({ fstype: 'ext4', on: xfs });
    fd = openSync(ext4.mountpoint, 'r');
    lowerFd = openSync(xfs.mountpoint, 'r');
    upperFd = openSync(upper.mountpoint, 'r');
  });
  afterAll(() => {
    for (const opened of [fd, lowerFd, upperFd]) closeSync(opened);
  });

  it('freezes and thaws, and publishes each step in the page', async () => {
    const { fd: pageFd, page } = createPage(2, 10_000, 60_000);
    closeSync(pageFd);
    const before = boottimeMs();
    await freezeSlot(page, 1, fd);
    const [idle, held] = readPage(page);
    expect(idle).toMatchObject({ state: SlotState.idle, callMs: 0 });
    expect(held).toMatchObject({ state: SlotState.held, freezeErrno: 0, loss: 0 });
    expect(held?.callMs).toBeGreaterThanOrEqual(before);
    expect(held?.heldMs).toBeGreaterThanOrEqual(held?.callMs ?? Infinity);
    expect(held?.deadlineMs).toBeCloseTo((held?.callMs ?? 0) + 10_000, 3);
    expect(await probeFrozen(fd)).toBe(true);
    expect(await thawSlot(page, 1, fd, 0)).toBe(true);
    expect(readPage(page)[1]).toMatchObject({ state: SlotState.thawed, thawErrno: 0, loss: 0 });
    expect(await probeFrozen(fd)).toBe(false);
  });

  it("publishes a failed freeze with its errno, and leaves another's freeze alone", async () => {
    await must('fsfreeze', '--freeze', ext4.mountpoint);
    const { fd: pageFd, page } = createPage(1, 10_000, 60_000);
    closeSync(pageFd);
    try {
      await expect(freezeSlot(page, 0, fd)).rejects.toMatchObject({
        code: 'EBUSY',
        errno: 16,
        syscall: 'ioctl(FIFREEZE)',
      });
      expect(readPage(page)[0]).toMatchObject({ state: SlotState.failed, freezeErrno: 16 });
      expect(await thawSlot(page, 0, fd, 0)).toBe(true);
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      await thawInBackground(fd);
    }
  });

  it("freezes and thaws in one call, and leaves another's freeze alone", async () => {
    const { fd: pageFd, page } = createPage(2, 10_000, 60_000);
    closeSync(pageFd);
    expect(await probeSlot(page, 0, fd)).toBe(true);
    const [slot] = readPage(page);
    expect(slot).toMatchObject({ state: SlotState.thawed, freezeErrno: 0, thawErrno: 0, loss: 0 });
    expect(slot?.deadlineMs).toBeCloseTo((slot?.callMs ?? 0) + 10_000, 3);
    expect(slot?.thawedMs).toBeGreaterThanOrEqual(slot?.heldMs ?? Infinity);
    expect(await probeFrozen(fd)).toBe(false);
    await must('fsfreeze', '--freeze', ext4.mountpoint);
    try {
      await expect(probeSlot(page, 1, fd)).rejects.toMatchObject({ code: 'EBUSY' });
      expect(readPage(page)[1]).toMatchObject({ state: SlotState.failed, freezeErrno: 16 });
      expect(await probeFrozen(fd)).toBe(true);
    } finally {
      await thawInBackground(fd);
    }
  });

  it('caps the deadline by the longest hold', async () => {
    const { fd: pageFd, page } = createPage(1, 10_000, 3000);
    closeSync(pageFd);
    await freezeSlot(page, 0, fd);
    const [slot] = readPage(page);
    await thawSlot(page, 0, fd, 0);
    expect(slot?.deadlineMs).toBeCloseTo((slot?.callMs ?? 0) + 3000, 3);
  });

  it('does not freeze a slot that was cancelled', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    expect(await thawSlot(page, 0, fd, 0)).toBe(true);
    await expect(freezeSlot(page, 0, fd)).rejects.toMatchObject({ code: 'ECANCELED' });
    // Nor for an instant.
    expect(readPage(page)).toMatchObject([{ heldMs: 0 }]);
    expect(await probeFrozen(fd)).toBe(false);
  });

  it('tells a thaw by someone else from its own', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    await freezeSlot(page, 0, fd);
    await thawInBackground(fd);
    expect(await thawSlot(page, 0, fd, 0)).toBe(true);
    expect(readPage(page)[0]).toMatchObject({ state: SlotState.thawed, thawErrno: 22, loss: 4 });
  });

  it('freezes on the thread pool: JavaScript goes on while FIFREEZE waits', async () => {
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    const freezing = freezeSlot(page, 0, upperFd);
    await sleep(300);
    const states = readPage(page).map((slot) => slot.state);
    await thawInBackground(lowerFd);
    await freezing;
    expect(await thawSlot(page, 0, upperFd, 0)).toBe(true);
    expect(states).toEqual([SlotState.calling]);
  });

  it('undoes a freeze that was ended while FIFREEZE waited', async () => {
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    const freezing = freezeSlot(page, 0, upperFd).catch((error: unknown) => error);
    await sleep(300);
    hand.publish({ pageFd }, SlotState.thawed);
    closeSync(pageFd);
    await thawInBackground(lowerFd);
    expect(await freezing).toMatchObject({ code: 'ECANCELED' });
    expect(await probeFrozen(upperFd)).toBe(false);
  });

  it("leaves another's freeze alone that FIFREEZE has waited for, though it was ended meanwhile", async () => {
    writeFileSync(`${upper.mountpoint}/dirty`, 'x'.repeat(1_000_000));
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    const other = spawn('fsfreeze', ['--freeze', upper.mountpoint], { stdio: 'ignore' });
    await eventually('the other to wait', () =>
      /^State:\s*D/m.test(readFileSync(`/proc/${other.pid}/status`, 'utf8')),
    );
    const freezing = freezeSlot(page, 0, upperFd).catch((error: unknown) => error);
    await sleep(300);
    hand.publish({ pageFd }, SlotState.thawed);
    closeSync(pageFd);
    await thawInBackground(lowerFd);
    expect(await ended(other)).toBe(0);
    try {
      expect(await freezing).toMatchObject({ code: 'ECANCELED' });
      expect(await probeFrozen(upperFd)).toBe(true);
    } finally {
      await thawInBackground(upperFd);
    }
  });

  it('claims what it thaws, and says nothing more of what another has ended meanwhile', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    await freezeSlot(page, 0, upperFd);
    // FITHAW waits for the filesystem below.
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    let thawing: Promise<boolean> | undefined;
    try {
      thawing = thawSlot(page, 0, upperFd, lossNumber('timeout'));
      await eventually('the claim', () => readPage(page)[0]?.state === SlotState.thawing);
      hand.publish({ pageFd }, SlotState.thawed);
    } finally {
      closeSync(pageFd);
      await thawInBackground(lowerFd);
    }
    expect(await thawing).toBe(true);
    expect(readPage(page)[0]).toMatchObject({ state: SlotState.thawed, loss: 0, thawedMs: 0 });
    expect(await probeFrozen(upperFd)).toBe(false);
  });

  it('leaves signals to the threads of Node, in a thread of its own that waits', async () => {
    const SIGTERM = 1n << 14n;
    const blocked = (thread: string): bigint =>
      BigInt(`0x${/^SigBlk:\s*(\w+)/m.exec(readFileSync(`/proc/${thread}/status`, 'utf8'))?.[1] ?? ''}`);
    const ours = blocked('thread-self');
    expect(ours & SIGTERM).toBe(0n);
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    await freezeSlot(page, 0, upperFd);
    await must('fsfreeze', '--freeze', xfs.mountpoint);
    let thawing: Promise<boolean> | undefined;
    try {
      thawing = thawSlot(page, 0, upperFd, 0);
      expect(blocked('thread-self')).toBe(ours);
      const waiting = await eventually('the thread to wait', waitingThread);
      expect(blocked(`self/task/${waiting}`) & SIGTERM).toBe(SIGTERM);
    } finally {
      await thawInBackground(lowerFd);
    }
    expect(await thawing).toBe(true);
  });

  it('tells why it thawed, and when', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    await freezeSlot(page, 0, fd);
    expect(await thawSlot(page, 0, fd, lossNumber('signal'))).toBe(true);
    const [slot] = readPage(page);
    expect(slot).toMatchObject({ state: SlotState.thawed, thawErrno: 0, loss: lossNumber('signal') });
    expect(slot?.thawBeginMs).toBeGreaterThanOrEqual(slot?.heldMs ?? Infinity);
    expect(slot?.thawedMs).toBeGreaterThanOrEqual(slot?.thawBeginMs ?? Infinity);
  });

  it("takes no guard's thaw for that of somebody else: it was a moment faster, and says so in the next", async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    hand.publish({ pageFd }, SlotState.thawing);
    const thawed = thawSlot(page, 0, fd, 0);
    await sleep(20);
    hand.publish({ pageFd }, SlotState.thawed);
    closeSync(pageFd);
    expect(await thawed).toBe(true);
    expect(readPage(page)[0]).toMatchObject({ state: SlotState.thawed, loss: 0 });
  });

  it.each([
    // A call that was just woken gets time to say what came of it, before FITHAW ends whatever there is.
    ['calling', 45],
    ['probing', 0],
  ] as const)('does not call thawed what is %s still', async (state, leastMs) => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    hand.publish({ pageFd }, SlotState[state]);
    closeSync(pageFd);
    const begun = boottimeMs();
    expect(await thawSlot(page, 0, fd, 0)).toBe(false);
    expect(boottimeMs() - begun).toBeGreaterThanOrEqual(leastMs);
    expect(readPage(page)[0]).toMatchObject({ state: SlotState[state], thawErrno: 22 });
    expect(await thawSlot(page, 0, fd, 0)).toBe(false);
  });

  it('does not call thawed what it could not thaw', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    await freezeSlot(page, 0, fd);
    expect(await thawSlot(page, 0, BAD_FD, 0)).toBe(false);
    expect(readPage(page)[0]).toMatchObject({ thawErrno: 9, thawedMs: 0 });
    expect(await probeFrozen(fd)).toBe(true);
    expect(await thawSlot(page, 0, fd, 0)).toBe(true);
  });

  it('makes pages that nobody can make shorter or longer', () => {
    const { fd: pageFd } = createPage(1, 0, 60_000);
    for (const size of [0, 1_000_000])
      expect(() => ftruncateSync(pageFd, size)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    closeSync(pageFd);
  });

  it('unmaps a page that nobody has any more', async () => {
    const mapped = (): number => readFileSync('/proc/self/maps', 'utf8').split('/memfd:page').length;
    const before = mapped();
    for (let count = 0; count < 50; count += 1) closeSync(createPage(1, 0, 60_000).fd);
    expect(mapped()).toBeGreaterThan(before);
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    await eventually('the pages to go', () => {
      collect();
      return mapped() <= before;
    });
  });

  it('throws errors with errno, code and syscall', async () => {
    await expect(thawInBackground(BAD_FD)).rejects.toThrow(
      expect.objectContaining({ code: 'EBADF', errno: 9, syscall: 'ioctl(FITHAW)' }),
    );
    await expect(thawInBackground(fd)).rejects.toThrow(
      expect.objectContaining({ code: 'EINVAL', errno: 22 }),
    );
    expect(() => tryLock(BAD_FD)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'flock' }));
    await expect(syncfs(BAD_FD)).rejects.toMatchObject({ code: 'EBADF', errno: 9, syscall: 'syncfs' });
    await expect(ficlone(BAD_FD, fd)).rejects.toMatchObject({ code: 'EBADF', syscall: 'ioctl(FICLONE)' });
    expect(() => createPage(-1, 0, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => createPage(33, 0, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => createPage(1, -1, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => createPage(1, 0, 0)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('refuses a page that is none, and a slot that is not in it', async () => {
    const { fd: pageFd, page } = createPage(1, 0, 60_000);
    closeSync(pageFd);
    await expect(thawSlot(page, 1, fd, 0)).rejects.toThrow(TypeError);
    await expect(thawSlot(page, -1, fd, 0)).rejects.toThrow(TypeError);
    await expect(thawSlot(page, 0, undefined as unknown as number, 0)).rejects.toThrow(TypeError);
    expect(() => readPage({} as typeof page)).toThrow(TypeError);
    expect(() => readPage(undefined as unknown as typeof page)).toThrow(TypeError);
  });

  it('syncs and clones', async () => {
    const source = openSync(`${xfs.mountpoint}/source`, 'w+');
    const destination = openSync(`${xfs.mountpoint}/destination`, 'w+');
    writeSync(source, 'shared blocks');
    fsyncSync(source);
    await ficlone(destination, source);
    await syncfs(destination);
    closeSync(source);
    closeSync(destination);
    expect(readFileSync(`${xfs.mountpoint}/destination`, 'utf8')).toBe('shared blocks');
  });

  /** How much of a file is in memory, in bytes. */
  async function cached(file: string): Promise<number> {
    return Number(await must('fincore', '--bytes', '--noheadings', '--output', 'RES', file));
  }

  it('has what is in memory of files forgotten, and waits for nothing, follows nothing, and leaves nothing open', async () => {
    const directory = `${ext4.mountpoint}/cached`;
    mkdirSync(`${directory}/below`, { recursive: true });
    const files = [`${directory}/file`, `${directory}/below/file`];
    const outside = `${ext4.mountpoint}/outside`;
    for (const file of [...files, outside]) writeFileSync(file, Buffer.alloc(1_000_000, 'x'));
    symlinkSync(outside, `${directory}/link`);
    await must('mkfifo', `${directory}/fifo`);
    await syncfs(fd);
    for (const file of [...files, outside]) expect(await cached(file)).toBeGreaterThan(900_000);
    const writer = spawn('/bin/sh', ['-c', 'exec > "$1"', 'sh', `${directory}/fifo`]);
    const allClosed = watchOpenFiles();
    try {
      await sleep(300);
      await forgetCached(directory);
      // No reader has come: it waits in its open(2).
      await sleep(200);
      expect([writer.exitCode, writer.signalCode]).toEqual([null, null]);
    } finally {
      writer.kill('SIGKILL');
      await ended(writer);
    }
    for (const file of files) expect(await cached(file)).toBe(0);
    expect(await cached(outside)).toBeGreaterThan(900_000);
    await forgetCached(outside);
    expect(await cached(outside)).toBe(0);
    await allClosed();
    await expect(forgetCached(`${directory}/none`)).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'nftw',
    });
    await expect(forgetCached(undefined as unknown as string)).rejects.toThrow('Node-API call failed');
  });

  /** A file on `on` with the inode number of `other`, opened. */
  function openSameInode(on: ThrowawayFilesystem, other: number): number {
    const wanted = fstatSync(other).ino;
    for (let tried = 0; tried < 5000; tried += 1) {
      const file = openSync(`${on.mountpoint}/inode-${tried}`, 'w');
      if (fstatSync(file).ino === wanted) return file;
      closeSync(file);
    }
    throw new Error(`${on.fstype} gave no file the inode number ${wanted}`);
  }

  it('tells the very file that a loop device reads from its copies and its namesakes', async () => {
    linkSync(upper.image, `${upper.image}.linked`);
    await must('cp', '--reflink=never', upper.image, `${upper.image}.copy`);
    const device = openSync(upper.device, 'r');
    const image = openSync(`${upper.image}.linked`, 'r');
    const copy = openSync(`${upper.image}.copy`, 'r');
    const namesake = openSameInode(ext4, image);
    try {
      expect(await loopReads(device, image)).toBe(true);
      expect(await loopReads(device, copy)).toBe(false);
      expect(await loopReads(device, namesake)).toBe(false);
      await expect(loopReads(image, image)).rejects.toMatchObject({ code: 'ENOTTY' });
      await expect(loopReads(device, BAD_FD)).rejects.toMatchObject({ code: 'EBADF' });
    } finally {
      for (const opened of [device, image, copy, namesake]) closeSync(opened);
    }
  });

  it('reads and sets extended attributes, of any size and any name, and of a symlink itself', async () => {
    const file = Buffer.from(`${xfs.mountpoint}/attributes-\u{ff}`, 'latin1');
    writeFileSync(file, '');
    expect([...(await attributesOf(file))]).toEqual([]);
    const values = new Map([
      ['user.empty', Buffer.alloc(0)],
      ['user.\u{fe}', Buffer.from('strange')],
      ['user.large', Buffer.alloc(65_536, 'x')],
      // It fills what there is room for at first, to the last byte and without one.
      ['user.a', Buffer.alloc(4096 - 7 - 4, 'a')],
    ]);
    for (const [name, value] of values) await setAttribute(file, Buffer.from(name, 'latin1'), value);
    expect(await attributesOf(file)).toEqual(values);
    for (const room of [0, 10, 11, 4095, 4096, 69_679])
      await expect(readAttributes(file, Buffer.alloc(room))).rejects.toMatchObject({ code: 'ERANGE' });
    const link = Buffer.from(`${xfs.mountpoint}/attributes-link`);
    symlinkSync(file, link);
    await setAttribute(link, Buffer.from('trusted.own'), Buffer.from('x'));
    expect([...(await attributesOf(link)).keys()]).toEqual(['trusted.own']);
    await expect(setAttribute(link, Buffer.from('user.own'), Buffer.from('x'))).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'lsetxattr',
    });
    for (const given of [
      [link, 'x'],
      ['x', Buffer.alloc(9)],
    ] as never[][])
      await expect(readAttributes(...(given as [never, never]))).rejects.toThrow('expected buffers');
    await expect(attributesOf(Buffer.from(`${xfs.mountpoint}/gone`))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('locks once, until the descriptor is closed', () => {
    const file = `${disks.directory}/lock`;
    const first = openSync(file, 'w');
    const second = openSync(file, 'w');
    expect(tryLock(first)).toBe(true);
    expect(tryLock(second)).toBe(false);
    closeSync(first);
    expect(tryLock(second)).toBe(true);
    closeSync(second);
  });
});

describe('the built addon', () => {
  it('needs no later C library than that of Debian 12, whatever it was built on', () => {
    const addon = readFileSync('native/build/addon.node', 'latin1');
    const minors = [...addon.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(Math.max(...minors)).toBeLessThanOrEqual(36);
  });
});
