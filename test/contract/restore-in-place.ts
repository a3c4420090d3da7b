import { chmod, lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pathFromBytes } from '../../src/copy/byte-path.js';
import type { CopyEngine, RestoreRequest } from '../../src/copy/engine.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { withSealedView } from '../../src/system/sealed-view.js';
import { describeNeeding, type Capability } from '../support/capabilities.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

/**
 * The part of the contract of `CopyEngine.restore` that a restore in place and patterns need: every program that works in
 * the destination is started by `under`, only the parents that are named are touched, paths are bytes.
 */
export function restoreInPlaceContract(
  title: string,
  create: (storage: string) => Promise<CopyEngine>,
  needs: readonly Capability[],
): void {
  const all = ['root', 'loop', 'ext4', 'program:unshare', ...needs] as const;
  describeNeeding(all, `the ${title} engine, restoring in place`, () => {
    const disks = throwawayDisks(afterAll);
    let engine: CopyEngine;
    const common = { signal: new AbortController().signal, onProgress: () => undefined };
    let disk: ThrowawayFilesystem;
    let data: string;

    const at = (...names: string[]): string => path.join(disk.mountpoint, ...names);

    beforeAll(async () => {
      disk = await disks.filesystem({ fstype: 'ext4' });
      data = at('data');
      engine = await create(at('storage'));
      await engine.openRepository?.({ initialise: true });
      await mkdir(data, { mode: 0o700 });
      await mkdir(at('original', 'below'), { recursive: true });
      await writeFile(at('original', 'below', 'file'), 'file');
      await writeFile(at('original', 'other'), 'other');
      await must('ln', at('original', 'other'), at('original', 'below', 'z-link'));
      await must('bash', '-c', String.raw`printf raw > "$1"/$'below/\xff *'`, 'bash', at('original'));
      await chmod(at('original'), 0o750);
      const sources = [{ path: '/srv', readFrom: at('original'), exclude: [] }];
      await engine.copy({
        backup: { job: 'srv', backupId: '20261123T184500Z-1a2b3c' },
        sources,
        dataDirectory: data,
        parentDataDirectory: undefined,
        ...common,
      });
    });

    /** Restores to `place` on the disk, as seen by programs that are started by `under` alone. */
    async function restore(
      place: string,
      request: Pick<RestoreRequest, 'paths' | 'parents'>,
    ): Promise<string[]> {
      const mounts = (await readMounts()).filter(({ mountpoint }) => mountpoint === disk.mountpoint);
      const result = await withSealedView(mounts, ({ directory, under }) =>
        engine.restore({
          dataDirectory: data,
          sources: ['/srv'],
          destination: path.join(directory, at(place)),
          ...request,
          under,
          ...common,
        }),
      );
      return [...result.unreadable];
    }

    it('is said to restore in place', () => {
      expect(engine.restoresInPlace).toBe(true);
    });

    it('writes where `under` lets it, a link to what was not asked for too, and leaves nothing else', async () => {
      await mkdir(at('out', 'srv'), { recursive: true });
      await chmod(at('out', 'srv'), 0o701);
      expect(await restore('out', { paths: ['/srv/below'], parents: [] })).toEqual([]);
      expect(await readdir(at('out'))).toEqual(['srv']);
      expect(await readdir(at('out', 'srv'))).toEqual(['below']);
      expect(await must('cat', at('out', 'srv', 'below', 'z-link'))).toBe('other');
      expect((await readdir(at('out', 'srv', 'below'), 'latin1')).toSorted()).toEqual([
        'file',
        'z-link',
        '\u00ff *',
      ]);
      expect((await lstat(at('out', 'srv'))).mode & 0o7777).toBe(0o701);
    });

    it('gives parents that are named what they had', async () => {
      await mkdir(at('named'));
      expect(await restore('named', { paths: ['/srv/below/file'], parents: ['/srv'] })).toEqual([]);
      expect((await lstat(at('named', 'srv'))).mode & 0o7777).toBe(0o750);
      expect(await readdir(at('named', 'srv', 'below'))).toEqual(['file']);
    });

    it('finds a path whose bytes are no UTF-8', async () => {
      await mkdir(at('bytes', 'srv', 'below'), { recursive: true });
      const paths = [pathFromBytes('/srv/below/\u00ff *')];
      expect(await restore('bytes', { paths, parents: [] })).toEqual([]);
      expect(await readdir(at('bytes', 'srv', 'below'), 'latin1')).toEqual(['\u00ff *']);
    });

    it('goes through no symlink that is put in its way at any time: it names what it could not restore, or fails', async () => {
      await mkdir(at('trap'));
      await mkdir(at('elsewhere'));
      await symlink(at('elsewhere'), at('trap', 'srv'));
      const tried = await restore('trap', { paths: ['/srv/below/file'], parents: [] }).catch(() => [
        'failed',
      ]);
      expect(tried).not.toEqual([]);
      expect(await readdir(at('elsewhere'))).toEqual([]);
    });
  });
}
