import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import type { CopyEngine } from '../../src/copy/engine.js';
import { describeNeeding } from '../support/capabilities.js';
import { copyRequest, LONG_MS, restoreRequest } from '../support/engine-requests.js';
import { borgRepository, runTool } from '../support/repositories.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const SRV = [{ path: '/srv', readFrom: '/srv', exclude: [] }];
/** More than ext4 has room for beside a file; XFS takes 64 KiB. */
const BIG = 'x'.repeat(5000);

describeNeeding(
  ['root', 'loop', 'ext4', 'xfs', 'program:borg'],
  'what a restore by borg cannot bring',
  () => {
    const disks = throwawayDisks(afterAll);
    let source: string;
    let ext4: string;
    let directory: string;

    beforeAll(async () => {
      const xfs = await disks.filesystem({ fstype: 'xfs' });
      ext4 = (await disks.filesystem({ fstype: 'ext4' })).mountpoint;
      source = path.join(xfs.mountpoint, 'source');
      directory = path.join(disks.directory, 'borg');
      await mkdir(path.join(source, 'directory'), { recursive: true });
      for (const name of ['a', 'big', 'directory/b']) await writeFile(path.join(source, name), name);
      for (const name of ['big', 'directory'])
        await must('setfattr', '-n', 'user.big', '-v', BIG, path.join(source, name));
      await must('setfattr', '-n', 'user.small', '-v', 'small', path.join(source, 'big'));
    });

    function engineAt(name: string): CopyEngine {
      const { target, run } = borgRepository(path.join(directory, name));
      return createBorgEngine(target, { run, treeDirectory: path.join(directory, 'tree') });
    }

    async function copied(engine: CopyEngine, readFrom: string): Promise<string> {
      const data = path.join(directory, `data-${path.basename(readFrom)}`);
      await mkdir(data, { recursive: true });
      await engine.openRepository?.({ initialise: true });
      const result = await engine.copy(copyRequest([{ path: '/srv', readFrom, exclude: [] }], data));
      expect(result.unreadable).toEqual([]);
      return data;
    }

    it(
      'is an attribute that is too large, of a file and of a directory, and nothing else',
      async () => {
        const engine = engineAt('attributes');
        const data = await copied(engine, source);
        const destination = path.join(ext4, 'attributes');
        await mkdir(destination, { mode: 0o700 });
        const { files, unreadable } = await engine.restore(restoreRequest(SRV, data, destination));
        expect(files).toBe(3);
        expect([...unreadable].toSorted()).toEqual(['/srv/big', '/srv/directory']);
        expect(await readFile(path.join(destination, 'srv/directory/b'), 'utf8')).toBe('directory/b');
        const small = [
          'getfattr',
          '--only-values',
          '-n',
          'user.small',
          path.join(destination, 'srv/big'),
        ] as const;
        expect(await must(...small)).toBe('small');
      },
      LONG_MS,
    );

    it(
      'is a file in whose place the repository has zeros since it was repaired',
      async () => {
        const many = path.join(ext4, 'many');
        await mkdir(many);
        const names = ['f1', 'f2', 'f3', 'f4', 'f5'];
        for (const name of names)
          await must('dd', 'if=/dev/urandom', `of=${many}/${name}`, 'bs=200000', 'count=1', 'status=none');
        const engine = engineAt('damaged');
        const data = await copied(engine, many);
        const repository = path.join(directory, 'damaged');
        const segments = path.join(repository, 'data/0');
        const sizes = (await must('ls', '-S', segments)).split('\n');
        const segment = path.join(segments, sizes[0] ?? '');
        const bytes = await readFile(segment);
        await writeFile(
          segment,
          Buffer.concat([bytes.subarray(0, 500_000), Buffer.alloc(8, 'X'), bytes.subarray(500_008)]),
        );
        const secret = (await readFile(`${repository}.key/key`, 'utf8')).trim();
        const env = {
          BORG_BASE_DIR: directory,
          BORG_PASSPHRASE: secret,
          BORG_CHECK_I_KNOW_WHAT_I_AM_DOING: 'YES',
        };
        const repaired = await runTool(['borg', 'check', '--repair', repository], { env });
        expect(repaired.stderr).toContain('all-zero chunk');
        const lost: string[] = [];
        for (const paths of [[], ['/srv/f1', '/srv/f2', '/srv/f3', '/srv/f4', '/srv/f5', '/srv/nothere']]) {
          const destination = path.join(ext4, `damaged-${paths.length}`);
          await mkdir(destination, { mode: 0o700 });
          const { files, unreadable } = await engine.restore(restoreRequest(SRV, data, destination, paths));
          expect(files).toBe(5);
          expect(await readdir(path.join(destination, 'srv'))).toEqual(names);
          const differing = [];
          for (const name of names) {
            const [was, is] = await Promise.all([
              readFile(`${many}/${name}`),
              readFile(`${destination}/srv/${name}`),
            ]);
            if (!was.equals(is)) differing.push(`/srv/${name}`);
          }
          expect(differing).toHaveLength(1);
          expect(unreadable.filter((one) => one !== '/srv/nothere')).toEqual(differing);
          lost.push(...unreadable);
        }
        expect(lost).toContain('/srv/nothere');
      },
      LONG_MS,
    );
  },
);
