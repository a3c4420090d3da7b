import { chmod, lstat, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { dataDirectory } from '../../src/copy/backup/backup-layout.js';
import { findBackup } from '../../src/copy/backup/backup-select.js';
import { withSafeDestination } from '../../src/copy/restore/destination-view.js';
import { restoreBackup } from '../../src/copy/restore/restore-backup.js';
import { createTarEngine } from '../../src/copy/tar/tar-engine.js';
import { runCommand, type CommandResult } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { must, throwawayDisks, type ThrowawayFilesystem } from '../support/throwaway-filesystem.js';

const STRANGER = 1234;

/** What is restored there is its owner's at once, who may put symlinks among it while more is restored. */
const NEEDS = ['root', 'loop', 'ext4', 'xfs', 'program:rsync', 'program:zstd', 'program:unshare'] as const;
describeNeeding(NEEDS, 'a restore to a directory that others may enter', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let source: ThrowawayFilesystem;
  let count = 0;

  const at = (...names: string[]): string => path.join(disks.directory, ...names);

  beforeAll(async () => {
    cli = new FsbackupCli(disks.directory);
    source = await disks.filesystem({ fstype: 'ext4', on: await disks.filesystem({ fstype: 'xfs' }) });
    for (const name of ['one', 'two'])
      await mkdir(path.join(source.mountpoint, name, 'in'), { recursive: true });
    await writeFile(path.join(source.mountpoint, 'one', 'in', 'file'), 'content');
    await must(
      'ln',
      path.join(source.mountpoint, 'one/in/file'),
      path.join(source.mountpoint, 'two/in/file'),
    );
    await must('chown', '-R', `${STRANGER}:${STRANGER}`, source.mountpoint);
    // As a rule nobody else may enter a throwaway directory.
    await chmod(disks.directory, 0o755);
    vi.stubEnv('FSBACKUP_RUN_DIR', at('view'));
  });
  afterAll(() => vi.unstubAllEnvs());

  async function made(...names: string[]): Promise<string> {
    await mkdir(at(...names), { recursive: true });
    await chmod(at(...names), 0o755);
    return at(...names);
  }

  async function backUp(engine: string): Promise<string> {
    const target = await made(`target-${(count += 1)}`);
    const flags = ['--job', 'srv', '--source', source.mountpoint, '--to', target, '--engine', engine];
    expect((await cli.runJob(...flags)).value.error).toBeUndefined();
    return target;
  }

  it('needs no view for who is not root: all that is restored is his own', async () => {
    const use = {
      directory: await made('his'),
      isEmpty: false,
      sources: ['/srv'],
      wanted: ['/srv'],
      engine: { name: 'restic' },
    } as const;
    expect(await withSafeDestination(use, async (where) => where, STRANGER)).toEqual({
      destination: at('his'),
    });
    await expect(withSafeDestination(use, async (where) => where)).rejects.toMatchObject({ code: 'usage' });
  });

  it('has programs see it, and what is mounted in it, and no symlink followed', async () => {
    const directory = await made('seen');
    const elsewhere = await made('elsewhere');
    await made('seen', 'srv', 'theirs');
    const mounted = await made('seen', 'srv', 'mounted');
    await must('mount', '-t', 'tmpfs', 'tmpfs', mounted);
    try {
      const use = {
        directory,
        isEmpty: false,
        sources: ['/srv'],
        wanted: ['/srv'],
        engine: { name: 'rsync', restoresInPlace: true },
      } as const;
      await withSafeDestination(use, async ({ destination, liveDestination, under = [] }) => {
        expect(liveDestination).toBe(directory);
        const [first = '', ...rest] = under;
        const touch = (name: string): Promise<CommandResult> =>
          runCommand([first, ...rest, 'touch', path.join(destination, name)]);
        expect((await touch('srv/theirs/made')).exitCode).toBe(0);
        expect((await touch('srv/mounted/made')).exitCode).toBe(0);
        await rename(at('seen', 'srv', 'theirs'), at('seen', 'srv', 'away'));
        await symlink(elsewhere, at('seen', 'srv', 'theirs'));
        expect((await touch('srv/theirs/again')).stderr).toContain('Too many levels of symbolic links');
      });
      expect(await readdir(elsewhere)).toEqual([]);
      expect(await readdir(at('seen', 'srv', 'away'))).toEqual(['made']);
      expect(await readdir(mounted)).toEqual(['made']);
    } finally {
      await must('umount', mounted);
    }
  });

  it('goes without that where root alone enters, and what would go through it by itself is refused', async () => {
    const directory = await made('closed');
    const base = { directory, sources: ['/srv'], wanted: ['/srv'] };
    const staged = { ...base, engine: { name: 'restic' } } as const;
    const where = withSafeDestination({ ...staged, isEmpty: false }, (one) => Promise.resolve(one));
    await expect(where).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining(`chmod 700 ${directory}`),
    });
    const plain = { destination: directory };
    const same = <T>(one: T): Promise<T> => Promise.resolve(one);
    expect(await withSafeDestination({ ...staged, isEmpty: true }, same)).toEqual(plain);
    await chmod(directory, 0o700);
    expect(await withSafeDestination({ ...staged, isEmpty: false }, same)).toEqual(plain);
    const program = { ...base, isEmpty: true, engine: { name: 'tar', restoresInPlace: true } } as const;
    expect(await withSafeDestination(program, same)).toEqual(plain);
    // It would give the directory the mode of `/` when it begins.
    const root = await withSafeDestination({ ...program, sources: ['/'] }, same);
    expect(root.liveDestination).toBe(directory);
  });

  it('by tar: sets no owner through a symlink that is put there before it sets the times', async () => {
    const target = await backUp('tar');
    const backup = await findBackup([target], 'srv', () => undefined);
    const listed = await must(
      'tar',
      '--zstd',
      '--list',
      '--verbose',
      `--file=${path.join(dataDirectory(backup), 'data.tar.zst')}`,
    );
    // The name that the archive has the content with depends on the order of the directory.
    const [, linked = ''] = / (\S+)\/in\/file link to /.exec(listed) ?? [];
    const directory = await made('restored');
    const victim = await made('etc', 'in');
    let swaps = 0;
    const swapping: typeof runCommand = async (argv, options) => {
      const result = await runCommand(argv, options);
      if (argv.includes('rm') && argv.includes('--force')) {
        swaps += 1;
        const theirs = path.join(directory, linked);
        await rename(theirs, `${theirs}.away`);
        await symlink(path.dirname(victim), theirs);
      }
      return result;
    };
    const report = await restoreBackup({
      backup,
      to: { directory, force: false },
      paths: [`/${linked}`],
      engine: createTarEngine(swapping),
      journal: {
        record: () =>
          Promise.resolve({ id: '', amend: async () => undefined, remove: async () => undefined }),
      },
      signal: new AbortController().signal,
      onProgress: () => undefined,
      asStep: (work) => work(),
    });
    expect(report.destination).toBe(directory);
    expect(swaps).toBe(1);
    const { uid, mode } = await lstat(victim);
    expect([uid, mode & 0o7777]).toEqual([0, 0o755]);
    expect(await readFile(path.join(`${path.join(directory, linked)}.away`, 'in', 'file'), 'utf8')).toBe(
      'content',
    );
  });

  it.each(['rsync', 'tar', 'image'])('%s: brings all, and once more by force', async (engine) => {
    const target = await backUp(engine);
    const directory = await made(`all-${engine}`);
    for (const force of [[], ['--force']]) {
      const { exitCode, stderr } = await cli.run(
        'restore',
        'srv',
        '--from',
        target,
        '--to',
        directory,
        ...force,
      );
      expect(exitCode, stderr).toBe(0);
      const below = path.join(directory, source.mountpoint);
      expect(await readFile(path.join(below, 'two', 'in', 'file'), 'utf8')).toBe('content');
      expect((await lstat(below)).uid).toBe(STRANGER);
      expect(await readdir(directory)).toEqual([directory.split('/')[1]]);
      await writeFile(path.join(below, 'two', 'in', 'file'), 'changed');
    }
    expect((await lstat(directory)).mode & 0o7777).toBe(0o755);
  });
});
