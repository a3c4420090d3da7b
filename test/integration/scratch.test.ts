import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { withCopyErrors } from '../../src/copy/copy-error.js';
import { sweepScratch, withScratch } from '../../src/system/scratch.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must } from '../support/throwaway-filesystem.js';

const SCRATCH = path.resolve(import.meta.dirname, '../../src/system/scratch.ts');
const STRANGER = 12_345;
const LONG_AGO = new Date(Date.now() - 3_600_000);

describeNeeding(['root'], 'temporary directories', () => {
  let parent: string;

  beforeEach(async () => {
    parent = await mkdtemp(path.join(os.tmpdir(), 'scratch-test-'));
  });
  afterEach(async () => {
    await rm(parent, { recursive: true });
  });

  /** What a process leaves that is killed while it has one; its name. */
  async function leaveOne(): Promise<string> {
    const script = `
      const { withScratch } = await import(process.argv[1]);
      await withScratch('verify', async (directory) => {
        console.log(directory);
        await new Promise((resolve) => setTimeout(resolve, 600_000));
      }, process.argv[2]);`;
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script, SCRATCH, parent],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = once(child, 'close');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    child.kill('SIGKILL');
    await ended;
    const directory = line.toString().trim();
    await writeFile(path.join(directory, 'digests'), 'x');
    return directory;
  }

  it('are named where it is they that are full, and nothing else is', async () => {
    const small = path.join(parent, 'small');
    await mkdir(small);
    await must('mount', '-t', 'tmpfs', '-o', 'size=256k,mode=1777', 'none', small);
    try {
      const fill = withScratch(
        'verify',
        async (directory) =>
          withCopyErrors(() => writeFile(path.join(directory, 'x'), Buffer.alloc(1 << 20))),
        small,
      );
      await expect(fill).rejects.toMatchObject({
        code: 'failed',
        message: `the filesystem of the temporary directory ${small} is full`,
      });
      const elsewhere = new Error('rsync: No space left on device');
      await expect(withScratch('restore', () => Promise.reject(elsewhere), small)).rejects.toBe(elsewhere);
      expect(await readdir(small)).toEqual([]);
    } finally {
      await must('umount', small);
    }
  });

  it('are private, and gone afterwards, whatever becomes of what is done with them', async () => {
    const seen = await withScratch('verify', async (directory) => directory, parent);
    expect(path.dirname(seen)).toBe(parent);
    const failing = withScratch('restore', () => Promise.reject(new Error('no')), parent);
    await expect(failing).rejects.toThrow('no');
    expect(await readdir(parent)).toEqual([]);
  });

  it('of a process that was killed are removed once they are a minute old, those in use are not', async () => {
    const left = await leaveOne();
    expect(await sweepScratch(parent)).toEqual([]);
    await withScratch(
      'verify',
      async (used) => {
        await utimes(left, LONG_AGO, LONG_AGO);
        await utimes(used, LONG_AGO, LONG_AGO);
        expect(await sweepScratch(parent)).toEqual([left]);
        expect(await readdir(parent)).toEqual([path.basename(used)]);
      },
      parent,
    );
  });

  it('of a process that was killed are removed by the next that needs one', async () => {
    const left = await leaveOne();
    await utimes(left, LONG_AGO, LONG_AGO);
    await withScratch(
      'restore',
      async (own) => expect(await readdir(parent)).toEqual([path.basename(own)]),
      parent,
    );
  });

  it("that are somebody else's, or called otherwise, or lead elsewhere, are left alone", async () => {
    const theirs = path.join(parent, 'fsbackup-verify-theirs');
    const others = path.join(parent, 'fsbackup-verify-of-mine');
    const leading = path.join(parent, 'fsbackup-restore-leadng');
    for (const directory of [theirs, others]) await mkdir(directory);
    await chown(theirs, STRANGER, STRANGER);
    await symlink(others, leading);
    await writeFile(path.join(others, 'kept'), 'x');
    expect(await sweepScratch(parent, -1)).toEqual([]);
    expect(await readdir(parent)).toHaveLength(3);
    expect(await readdir(others)).toEqual(['kept']);
  });

  it('where somebody else decides what names lead to are left alone', async () => {
    await mkdir(path.join(parent, 'fsbackup-verify-abcdef'));
    await chown(parent, STRANGER, STRANGER);
    expect(await sweepScratch(parent, -1)).toEqual([]);
    expect(await readdir(parent)).toHaveLength(1);
  });

  it('of a process that was killed are removed by recover', async () => {
    const left = await leaveOne();
    await utimes(left, LONG_AGO, LONG_AGO);
    const cli = new FsbackupCli(parent);
    const recovered = await cli.runUnder(['env', `TMPDIR=${parent}`], 'recover');
    expect(recovered.exitCode, recovered.stderr).toBe(0);
    expect(await readdir(parent)).not.toContain(path.basename(left));
  });
});
