import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { prepareMergedTree } from '../../src/copy/repository/merged-tree.js';
import { withMounts } from '../../src/copy/filesystem/mounted-trees.js';
import { runCommand } from '../../src/system/run-command.js';
import { sealedCommand } from '../../src/system/sealed-view.js';
import { describeNeeding } from '../support/capabilities.js';
import { throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/** Only against hanging. */
const PATIENCE_MS = 30_000;

describeNeeding(
  ['root', 'loop', 'ext4'],
  'programs in a mount namespace of their own, which live for hours',
  () => {
    const disks = throwawayDisks(afterAll);
    let filesystem: ThrowawayFilesystem;
    let running: ChildProcess | undefined;
    let before: string | undefined;

    beforeAll(async () => {
      before = process.env['FSBACKUP_RUN_DIR'];
      process.env['FSBACKUP_RUN_DIR'] = path.join(disks.directory, 'run');
      filesystem = await disks.filesystem({ fstype: 'ext4', sizeMiB: 32 });
    });
    afterAll(() => {
      if (before === undefined) delete process.env['FSBACKUP_RUN_DIR'];
      else process.env['FSBACKUP_RUN_DIR'] = before;
    });
    afterEach(() => {
      running?.kill('SIGKILL');
      running = undefined;
    });

    async function must(...argv: [string, ...string[]]): Promise<string> {
      const result = await runCommand(argv, { timeoutMs: PATIENCE_MS });
      expect(result.exitCode, result.stderr).toBe(0);
      return result.stdout.trim();
    }

    /** As `lvremove` finds out: nobody else has the device open. */
    async function isFree(device: string): Promise<boolean> {
      for (const giveUpAt = Date.now() + PATIENCE_MS; Date.now() < giveUpAt; await sleep(50)) {
        const listed = await must('losetup', '--list', '--noheadings', '--output', 'NAME');
        if (!listed.split('\n').includes(device)) return true;
      }
      return false;
    }

    const programs: [string, (own: string) => Promise<string[]>][] = [
      [
        'restic and borg at work',
        async (own) => {
          const sources = [{ path: '/srv', readFrom: own, exclude: [] }];
          const tree = await prepareMergedTree(path.join(disks.directory, 'tree'), sources, {
            hold: disks.directory,
            signal: new AbortController().signal,
          });
          return tree.inTree(['sh', '-c', 'test -d srv/lost+found && echo ready && exec sleep 600']);
        },
      ],
      [
        'a restore from what it mounts',
        async (own) =>
          withMounts(
            [{ fstype: 'none', options: 'bind', source: disks.directory, at: disks.directory }],
            ['sh', '-c', `test ! -d ${own}/lost+found && echo ready && exec sleep 600`],
          ),
      ],
      [
        'a restore in place',
        async () => {
          const directory = path.join(disks.directory, 'sealed');
          await mkdir(directory, { recursive: true });
          return [...sealedCommand(directory, []), 'sh', '-c', 'echo ready && exec sleep 600'];
        },
      ],
    ];

    it.each(programs)('%s: the snapshot of another run can be removed meanwhile', async (_, argvOf) => {
      const mounts = path.join(disks.directory, 'run', 'mnt');
      const [own, other] = [path.join(mounts, 'mine', '0'), path.join(mounts, 'other', '0')];
      for (const directory of [own, other]) await mkdir(directory, { recursive: true });
      await must('mount', '--bind', filesystem.mountpoint, own);
      const image = path.join(disks.directory, 'other.img');
      await must('truncate', '--size=32M', image);
      await must('mkfs.ext4', '-q', image);
      const device = await must('losetup', '--find', '--show', image);
      try {
        await must('mount', device, other);
        try {
          const [file = '', ...args] = await argvOf(own);
          const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
          running = child;
          await new Promise<void>((resolve, reject) => {
            child.stdout.once('data', () => resolve());
            child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
          });
        } finally {
          await must('umount', other);
        }
      } finally {
        await must('losetup', '--detach', device);
        await must('umount', own);
      }
      expect(await isFree(device)).toBe(true);
      expect(running?.exitCode).toBe(null);
    });
  },
);
