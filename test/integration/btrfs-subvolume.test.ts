import { mkdir, readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseBtrfsStreamHead } from '../../src/copy/btrfs/btrfs-stream.js';
import { readSubvolume, sentUuidOf } from '../../src/system/btrfs-subvolume.js';
import { describeNeeding } from '../support/capabilities.js';
import { setReadOnly } from '../support/subvolume-flags.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(
  ['root', 'loop', 'btrfs', 'program:btrfs', 'program:perl'],
  'what btrfs says of a subvolume',
  () => {
    const disks = throwawayDisks(afterAll);
    let at: (name: string) => string;

    beforeAll(async () => {
      const { mountpoint } = await disks.filesystem({ fstype: 'btrfs' });
      at = (name) => path.join(mountpoint, name);
      await must('btrfs', 'subvolume', 'create', at('plain'));
      await must('btrfs', 'subvolume', 'snapshot', '-r', at('plain'), at('first'));
      await must('btrfs', 'subvolume', 'snapshot', '-r', at('plain'), at('second'));
      await must('btrfs', 'send', '-q', '-f', at('full'), at('first'));
      await must('btrfs', 'send', '-q', '-f', at('increment'), '-p', at('first'), at('second'));
      await mkdir(at('received'));
      await must('btrfs', 'receive', '-q', '-f', at('full'), at('received'));
      await must('btrfs', 'subvolume', 'snapshot', '-r', at('received/first'), at('of-received'));
      await must('btrfs', 'send', '-q', '-f', at('sent-on'), at('of-received'));
      await mkdir(at('directory'));
      await symlink(at('plain'), at('symlink'));
    });

    it.each(['plain', 'first', 'second', 'received/first', 'of-received', ''])(
      'of "%s" is what btrfs-progs show',
      async (name) => {
        const shown = await must('btrfs', 'subvolume', 'show', at(name));
        const field = (label: string): string | undefined => {
          const value = new RegExp(`^\\s+${label}:\\s*(\\S+)`, 'm').exec(shown)?.[1];
          return value === '-' ? undefined : value;
        };
        const found = await readSubvolume(at(name));
        const receivedAt = found?.receivedAt;
        expect(found).toEqual({
          uuid: field('UUID'),
          parentUuid: field('Parent UUID'),
          receivedUuid: field('Received UUID'),
          generation: Number(field('Generation')),
          // Of these it shows nothing, or another form.
          lastChange: expect.any(Number),
          receivedAt,
          isReadOnly: field('Flags') === 'readonly',
        });
        expect(receivedAt !== undefined).toBe(field('Receive transid') !== '0');
      },
    );

    it('tells a change of something in it, and none that snapshots or moved blocks are', async () => {
      const lastChange = async (): Promise<number> => {
        await must('sync', '--file-system', at(''));
        return (await readSubvolume(at('received/first')))?.lastChange ?? 0;
      };
      const before = await lastChange();
      await must('btrfs', 'subvolume', 'snapshot', '-r', at('received/first'), at('another'));
      await must('btrfs', 'balance', 'start', '--full-balance', at(''));
      await setReadOnly(at('received/first'), false);
      expect(await lastChange()).toBe(before);
      await must('touch', at('received/first/new'));
      await setReadOnly(at('received/first'), true);
      expect(await lastChange()).toBeGreaterThan(before);
    });

    it.each(['directory', 'symlink', 'full', 'missing', 'missing/below'])(
      'of %s is nothing',
      async (name) => {
        expect(await readSubvolume(at(name))).toBeUndefined();
      },
    );

    it('of another filesystem is nothing, also where its inodes have that number', async () => {
      const mountpoint = path.join(disks.directory, 'tmpfs');
      await mkdir(mountpoint);
      // It numbers its inodes from 1.
      await must('mount', '-t', 'tmpfs', 'tmpfs', mountpoint);
      onTestFinished(async () => {
        await must('umount', mountpoint);
      });
      const names = Array.from({ length: 300 }, (_, index) => path.join(mountpoint, `d${index}`));
      await must('mkdir', ...names);
      const inodes = await must('stat', '--format=%i %n', ...names);
      const alike = /^256 (.*)$/m.exec(inodes)?.[1];
      expect(alike).toBeDefined();
      expect(await readSubvolume(alike ?? '')).toBeUndefined();
    });

    it('is in the head of its stream, with that of its parent', async () => {
      const head = async (name: string): Promise<Buffer> => (await readFile(at(name))).subarray(0, 1024);
      const [first, second, received] = await Promise.all(
        ['first', 'second', 'of-received'].map(async (name) => sentUuidOf(await readSubvolume(at(name)))),
      );
      expect(parseBtrfsStreamHead(await head('full'))).toEqual({ uuid: first, parentUuid: undefined });
      expect(parseBtrfsStreamHead(await head('increment'))).toEqual({ uuid: second, parentUuid: first });
      expect(received).toBe(first);
      expect(parseBtrfsStreamHead(await head('sent-on'))).toEqual({ uuid: first, parentUuid: undefined });
    });

    it('is in no other bytes, nor in those of a stream that was cut short', async () => {
      const whole = (await readFile(at('increment'))).subarray(0, 1024);
      const end = whole.readUInt32LE(17) + 27;
      for (let length = 0; length < end; length += 1)
        expect(parseBtrfsStreamHead(whole.subarray(0, length))).toBeUndefined();
      expect(parseBtrfsStreamHead(whole.subarray(0, end))).toBeDefined();
      expect(parseBtrfsStreamHead(Buffer.alloc(1024, 7))).toBeUndefined();
    });
  },
);
