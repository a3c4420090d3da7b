import { lstat, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createBorgEngine } from '../../src/copy/borg/borg-engine.js';
import type { CopyEngine, CopyResult } from '../../src/copy/engine.js';
import { createResticEngine } from '../../src/copy/restic/restic-engine.js';
import { removeStaging } from '../../src/copy/restore/restore-staging.js';
import { attributesOf } from '../../src/system/attributes.js';
import { readMounts } from '../../src/system/mountinfo.js';
import { describeNeeding } from '../support/capabilities.js';
import { copyRequest, LONG_MS, restoreRequest } from '../support/engine-requests.js';
import { borgRepository, resticRepository } from '../support/repositories.js';
import { must, throwawayDisks } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'ext4',
  'xfs',
  'program:restic',
  'program:borg',
  'program:fusermount3',
  'program:setfacl',
  'program:setcap',
] as const;
const SRV = [{ path: '/srv', readFrom: '/srv', exclude: [] }];
const SOMEBODY = 'u:54321:rw';
/** A byte that is no UTF-8. */
const STRANGE = Buffer.from('strange-\u{ff}', 'latin1');

describeNeeding(NEEDS, 'a restore to a filesystem that keeps less of a file than the one it was on', () => {
  const disks = throwawayDisks(afterAll);
  let source: string;
  let ext4: string;
  let none: string;
  let count = 0;

  beforeAll(async () => {
    source = path.join((await disks.filesystem({ fstype: 'xfs' })).mountpoint, 'source');
    ext4 = (await disks.filesystem({ fstype: 'ext4' })).mountpoint;
    none = path.join(disks.directory, 'ramfs.mnt');
    await mkdir(none);
    await must('mount', '-t', 'ramfs', 'none', none);
    await mkdir(path.join(source, 'inherits'), { recursive: true });
    const inSource = (name: string): string => path.join(source, name);
    // The owning group, which had nothing, has the mask's rights in the mode of those with ACLs.
    for (const [name, mode] of [
      ['key', '600'],
      ['shared', '644'],
      ['plain', '664'],
      ['ping', '755'],
    ] as const) {
      await writeFile(inSource(name), name);
      await must('chmod', mode, inSource(name));
    }
    await must('setfacl', '-m', SOMEBODY, inSource('key'), inSource('shared'));
    await must('setfacl', '-d', '-m', SOMEBODY, inSource('inherits'));
    await must('setfattr', '-n', 'user.big', '-v', 'x'.repeat(5000), inSource('key'));
    await must('setfattr', '-n', 'user.small', '-v', 'small', inSource('key'));
    await must('setcap', 'cap_net_raw+ep', inSource('ping'));
    const strange = Buffer.concat([Buffer.from(`${source}/`), STRANGE]);
    await writeFile(strange, '');
    // Its name cannot be an argument.
    await must('find', source, '-name', 'strange-*', '-execdir', 'setfacl', '-m', SOMEBODY, '{}', '+');
  });

  afterEach(async () => {
    // Neither what was staged, nor what showed the backup meanwhile.
    for (const at of [ext4, none])
      expect((await readdir(at, { recursive: true })).filter((name) => name.includes('.fsbackup-'))).toEqual(
        [],
      );
    expect((await readMounts()).filter(({ fstype }) => fstype.startsWith('fuse.restic'))).toEqual([]);
  });

  const ENGINES = {
    restic: (hasFuse = true): CopyEngine => {
      const { target, run } = resticRepository(path.join(disks.directory, 'restic'));
      return createResticEngine(target, {
        run,
        treeDirectory: path.join(disks.directory, 'tree'),
        ...(hasFuse ? {} : { hasFuse: () => Promise.resolve(false) }),
      });
    },
    borg: (): CopyEngine => {
      const { target, run } = borgRepository(path.join(disks.directory, 'borg'));
      return createBorgEngine(target, { run, treeDirectory: path.join(disks.directory, 'tree') });
    },
  };
  const dataOf = ({ name }: CopyEngine): string => path.join(disks.directory, `data-${name}`);

  beforeAll(async () => {
    for (const engine of [ENGINES.restic(), ENGINES.borg()]) {
      await mkdir(dataOf(engine));
      await engine.openRepository?.({ initialise: true });
      const sources = [{ path: '/srv', readFrom: source, exclude: [] }];
      const { unreadable } = await engine.copy(copyRequest(sources, dataOf(engine)));
      expect(unreadable).toEqual([]);
    }
  }, LONG_MS);

  async function restored(
    engine: CopyEngine,
    to: string,
  ): Promise<{ result: CopyResult; modes: Record<string, string>; at: string }> {
    count += 1;
    const destination = path.join(to, `${engine.name}-${count}`);
    await mkdir(destination, { mode: 0o700 });
    const result = await engine.restore(restoreRequest(SRV, dataOf(engine), destination));
    const at = path.join(destination, 'srv');
    const modes: Record<string, string> = {};
    for (const name of ['key', 'shared', 'plain', 'ping'])
      modes[name] = ((await stat(path.join(at, name))).mode & 0o777).toString(8);
    return { result, modes, at };
  }

  for (const name of ['restic', 'borg'] as const) {
    it(
      `by ${name}, names a file that lacks an attribute, which has its ACL and the others all the same`,
      async () => {
        const { result, modes, at } = await restored(ENGINES[name](), ext4);
        expect(result).toMatchObject({ files: 5, unreadable: ['/srv/key'] });
        expect(result.warnings).toBeUndefined();
        const [was, is] = await Promise.all(
          [source, at].map((one) => must('getfacl', '-cpE', path.join(one, 'shared'))),
        );
        expect(is).toBe(was);
        const key = await attributesOf(Buffer.from(path.join(at, 'key')));
        expect([key.has('user.big'), key.get('user.small')?.toString()]).toEqual([false, 'small']);
        expect([key.has('system.posix_acl_access'), modes['key']]).toEqual([true, '660']);
      },
      LONG_MS,
    );

    it(
      `by ${name}, names all that have lost ACLs or attributes where there are none, and nobody has more rights`,
      async () => {
        const { result, modes } = await restored(ENGINES[name](), none);
        // borg's own word for it, beside its name.
        const named = result.unreadable.filter((one) => one !== '/srv/strange-?');
        expect(named.toSorted()).toEqual(
          ['/srv/inherits', '/srv/key', '/srv/ping', '/srv/shared', String.raw`/srv/strange-\377`].toSorted(),
        );
        expect(modes).toEqual({ key: '600', shared: '644', plain: '664', ping: '755' });
      },
      LONG_MS,
    );
  }

  it('that was killed leaves nothing mounted in what is removed of it', async () => {
    const directory = path.join(ext4, '.fsbackup-restore-0123456789abcdef');
    await mkdir(path.join(directory, 'backup'), { recursive: true });
    const { ino, birthtimeNs } = await lstat(directory, { bigint: true });
    await must('mount', '-t', 'tmpfs', 'none', path.join(directory, 'backup'));
    await removeStaging({ directory, identity: { inode: String(ino), bornNs: String(birthtimeNs) } });
    expect((await readMounts()).filter(({ mountpoint }) => mountpoint.startsWith(directory))).toEqual([]);
  });

  it(
    'by restic without FUSE, warns that nothing was compared, and is refused where that would give somebody rights',
    async () => {
      const engine = ENGINES.restic(false);
      const { result } = await restored(engine, ext4);
      expect(result.warnings).toEqual([expect.stringContaining('attributes were not compared')]);
      await expect(restored(engine, none)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining('keeps no ACLs') as string,
      });
    },
    LONG_MS,
  );
});
