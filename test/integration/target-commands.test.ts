import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isAlive } from '../../src/system/process-identity.js';
import { compareTrees } from '../support/compare-trees.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { commandTarget, secretFile, tarCommandTarget } from '../support/repositories.js';
import { must } from '../support/throwaway-filesystem.js';

const LONG_MS = 300_000;
const SECRET = 'a-token-that-nobody-sees';

interface Listed {
  backups: { target: string; backupId: string; state: string; engine: string }[];
}

const NEEDS = ['root', 'program:tar', 'program:zstd', 'program:rsync'] as const;

describeNeeding(NEEDS, 'a target that commands carry backups to', () => {
  let directory: string;
  let source: string;
  let given: string;
  let config: string;
  let cli: FsbackupCli;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'target-commands-'));
    source = path.join(directory, 'source');
    given = path.join(directory, 'given');
    config = path.join(directory, 'config.yaml');
    await mkdir(path.join(source, 'www'), { recursive: true });
    await mkdir(given);
    await writeFile(path.join(source, 'www', 'page'), 'page');
    await must('dd', 'if=/dev/urandom', `of=${source}/large`, 'bs=1M', 'count=8', 'status=none');
    cli = new FsbackupCli(directory);
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function configure(target: object, ofJob: object = {}): Promise<void> {
    const sources = [{ path: source, snapshot: 'none' }];
    const jobs = { srv: { sources, targets: [target], attempts: 1, ...ofJob } };
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
  }

  /** `tar`, given to shell scripts: `$1` is the file for the archive, `$2` the directory that it lies in. */
  async function giveArchive(
    scripts: Readonly<Record<string, string>> = {},
    more: object = {},
    ofJob: object = {},
  ): Promise<void> {
    const { repository } = tarCommandTarget(given);
    const file = path.join(given, '{name}.tar.zst');
    const commands = Object.fromEntries(
      Object.entries(scripts).map(([name, script]) => [name, ['sh', '-ec', script, 'sh', file, given]]),
    );
    await configure(
      {
        engine: 'tar',
        repository: 'offsite',
        commands: { ...repository?.commands, ...commands },
        ...more,
      },
      ofJob,
    );
  }

  async function giveTree(more: object = {}, ofJob: object = {}): Promise<void> {
    const { repository: { commands, exitCodes } = {} } = commandTarget(given);
    await configure({ engine: 'command', repository: 'vault', commands, exitCodes, ...more }, ofJob);
  }

  async function list(): Promise<Listed['backups']> {
    const { stdout } = await cli.run('backups', 'list', '--config', config, '--json');
    return (JSON.parse(stdout) as Listed).backups;
  }

  /** Runs a command of fsbackup: its exit code, and what it said, on one line. */
  async function fsbackup(...args: string[]): Promise<{ code: number | undefined; said: string }> {
    const { exitCode, stdout, stderr } = await cli.run(...args, '--config', config);
    return { code: exitCode, said: `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ') };
  }

  async function expectFailedAndForgotten(reason: string | RegExp): Promise<void> {
    const { code, said } = await fsbackup('run');
    expect(said).toMatch(reason);
    expect(code).toBe(40);
    expect(await list()).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);
    expect((await readdir(given)).filter((name) => name.startsWith('srv-'))).toEqual([]);
  }

  async function expectNextIsGood(): Promise<void> {
    await giveArchive();
    expect((await fsbackup('run')).code).toBe(0);
    expect(await list()).toMatchObject([{ state: 'complete' }]);
    expect((await fsbackup('backups', 'verify', 'srv', '--full')).code).toBe(0);
  }

  it.each([
    ['tar', 'offsite', giveArchive],
    ['command', 'vault', (more: object, ofJob: object) => giveTree(more, ofJob)],
  ] as const)(
    '%s is run, listed, shown, verified, restored and pruned with the same words',
    async (engine, name, give) => {
      await (engine === 'tar' ? giveArchive({}, {}, { keep: { last: 2 } }) : give({}, { keep: { last: 2 } }));
      for (let count = 0; count < 3; count += 1) {
        const { value } = await cli.runJob('--config', config);
        expect(value.copies).toMatchObject([{ target: name, engine, files: 2, bytes: 8 * 1024 ** 2 + 4 }]);
      }
      const backups = await list();
      expect(backups).toMatchObject([{ target: name }, { target: name }]);
      const stored = (await readdir(given)).filter((one) => /^srv-[^.]*(?:\.tar\.zst)?$/.test(one));
      expect(stored).toHaveLength(2);
      // As where the configuration is lost.
      const named = await cli.run('backups', 'list', '--from', name, '--engine', engine, '--json');
      expect((JSON.parse(named.stdout) as Listed).backups).toEqual(backups);
      expect((await fsbackup('backups', 'show', 'srv')).said).toContain(name);
      for (const how of ['--quick', '--full', '--drill']) {
        const { code, said } = await fsbackup('backups', 'verify', 'srv', how);
        expect([how, code, said]).toMatchObject([how, 0, expect.any(String)]);
      }
      const [all, some] = [path.join(directory, 'all'), path.join(directory, 'some')];
      expect((await fsbackup('restore', 'srv', '--to', all)).code).toBe(0);
      expect(await compareTrees(source, path.join(all, source))).toEqual([]);
      expect((await fsbackup('restore', 'srv', '--to', some, `${source}/w*/p*`)).code).toBe(0);
      expect(await readdir(path.join(some, source))).toEqual(['www']);
      expect((await fsbackup('backups', 'mount', 'srv', path.join(directory, 'mnt'))).code).toBe(2);
      expect(await cli.journalEntries()).toEqual([]);
    },
    LONG_MS,
  );

  it(
    'tells a `write` that fails, one that stops reading, and one that stores less than it read',
    async () => {
      await giveArchive({ write: 'head -c 100000 >"$1"; echo no more room >&2; exit 7' });
      await expectFailedAndForgotten(/write \(sh\) ended with exit code 7: no more room/);
      await giveArchive({ write: 'head -c 100000 >"$1"' });
      await expectFailedAndForgotten('before it had read all of the backup');
      await giveArchive({ write: 'head -c 100000 >"$1"; cat >/dev/null', size: 'stat -c %s "$1"' });
      await expectFailedAndForgotten(/100000 bytes are stored, and \d+ were written/);
      await giveArchive({ check: 'echo the disk is not there >&2; exit 1' });
      expect(await fsbackup('run')).toMatchObject({
        code: 2,
        said: expect.stringContaining('disk is not there'),
      });
      await expectNextIsGood();
    },
    LONG_MS,
  );

  it(
    'never lets `write` see the end of an archive whose making was cut short',
    async () => {
      const write = 'echo $$ >"$2/writing"; cat >"$1.part"; touch "$2/ended"; mv "$1.part" "$1"';
      await must('dd', 'if=/dev/urandom', `of=${source}/larger`, 'bs=1M', 'count=100', 'status=none');
      for (const victim of ['tar', 'zstd']) {
        await giveArchive({ write, remove: 'rm -f "$1" "$1.part"' });
        const started = cli.start('run', '--config', config);
        while ((await stat(path.join(given, 'writing')).catch(() => undefined)) === undefined) {
          expect(started.hasEnded, started.output).toBe(false);
          await sleep(5);
        }
        await started.stopChild(victim, 'SIGKILL');
        expect(await started.ended(), started.output).toBe(40);
        expect(started.output).toContain(`${victim} was ended by SIGKILL`);
        expect(await list()).toEqual([]);
        expect(await readdir(given)).toEqual(['writing']);
        await rm(path.join(given, 'writing'));
      }
      await rm(path.join(source, 'larger'));
      await expectNextIsGood();
    },
    LONG_MS,
  );

  it(
    'finds by reading back that less is stored, and calls no such restore a good one',
    async () => {
      await giveArchive();
      expect((await fsbackup('run')).code).toBe(0);
      const name = (await readdir(given)).find((one) => one.startsWith('srv-')) ?? '';
      await truncate(path.join(given, name), 5_000_000);
      for (const how of ['--quick', '--full'])
        expect(await fsbackup('backups', 'verify', 'srv', how)).toMatchObject({
          code: 50,
          said: expect.stringMatching(/5000000 bytes came back, and \d+ were written/),
        });
      const refused = await fsbackup('restore', 'srv', '--to', path.join(directory, 'out'));
      expect(refused).toMatchObject({ code: 2, said: expect.stringContaining('is known to be bad') });
      const [made] = await list();
      const restored = await fsbackup(
        'restore',
        `srv@${made?.backupId ?? ''}`,
        '--to',
        path.join(directory, 'out'),
      );
      expect(restored).toMatchObject({ code: 40, said: expect.stringContaining('5000000 bytes came back') });
    },
    LONG_MS,
  );

  it(
    'goes on when nobody answers: exit 40, and what was left there is removed by the next run',
    async () => {
      await giveArchive(
        { write: 'head -c 100000 >"$1"; exit 75', remove: 'exit 75' },
        { exitCodes: { retry: 75 } },
      );
      expect((await fsbackup('run')).code).toBe(40);
      expect(await list()).toEqual([]);
      expect(await cli.journalEntries()).toEqual([]);
      const [left = ''] = await readdir(given);
      expect(left).toMatch(/^srv-/);
      await expectNextIsGood();
      expect((await readdir(given)).filter((one) => one.startsWith('srv-'))).toHaveLength(1);
      expect(await readdir(given)).not.toContain(left);
    },
    LONG_MS,
  );

  it(
    'gives secrets to the commands alone',
    async () => {
      const token = secretFile(path.join(directory, 'keys', 'token'), SECRET);
      const more = { environment: { TOKEN: { file: token } } };
      await giveArchive(
        { write: 'cat >"$1"; printf %s "$TOKEN" >"$2/seen"; echo "told $TOKEN" >&2; exit 1' },
        more,
      );
      const runs = [
        await fsbackup('plan'),
        await fsbackup('config', 'show'),
        await fsbackup('run', '--json'),
      ];
      expect(await readFile(path.join(given, 'seen'), 'utf8')).toBe(SECRET);
      const state = await must('grep', '-r', '-c', 'offsite', path.join(directory, 'state'));
      expect(state).toContain('catalogue.json');
      expect(runs.at(-1)?.said).toContain('told ***');
      for (const { said } of runs) expect(said).not.toContain(SECRET);
      const names = await readdir(path.join(directory, 'state'), { recursive: true, withFileTypes: true });
      for (const entry of names.filter((one) => one.isFile()))
        expect(await readFile(path.join(entry.parentPath, entry.name), 'latin1')).not.toContain(SECRET);
    },
    LONG_MS,
  );

  it(
    'tells what a command could not read, gives it nothing to write to, and says what is missing',
    async () => {
      const copy = [
        'bash',
        '-c',
        '[ "$PWD" = "$FSBACKUP_DIRECTORY" ] || exit 1; echo x 2>/dev/null >"$1/new" && exit 1; [ -f "$1/large" ] || exit 1; ' +
          String.raw`printf '%s/a\nb\0' "$1" >"$FSBACKUP_UNREADABLE"; exit 3`,
        'bash',
        source.slice(1),
      ];
      await giveTree({ commands: { copy }, exitCodes: { partial: 3 } });
      const partial = await fsbackup('run');
      expect(partial).toMatchObject({
        code: 41,
        said: expect.stringContaining(String.raw`${source}/a\012b`),
      });
      expect(await readdir(source)).not.toContain('new');
      await giveTree({ commands: { copy: ['sh', '-c', 'exit 3'] }, exitCodes: { partial: 3 } });
      expect(await fsbackup('run')).toMatchObject({
        code: 41,
        said: expect.stringContaining('the command does not say which'),
      });
      await giveTree({ commands: { copy: ['sh', '-c', 'echo why not >&2; exit 4'] } });
      expect(await fsbackup('run')).toMatchObject({ code: 40, said: expect.stringContaining('why not') });
      for (const [args, missing] of [
        [['backups', 'verify', 'srv', '--full'], 'has no command to verify a backup'],
        [['restore', 'srv', '--to', path.join(directory, 'out')], 'Write one as commands.restore'],
      ] as const)
        expect(await fsbackup(...args)).toMatchObject({ code: 2, said: expect.stringContaining(missing) });
      await giveTree({ commands: { copy: ['no-such-program'] } });
      expect(await fsbackup('run')).toMatchObject({
        code: 2,
        said: expect.stringContaining('no-such-program is not there'),
      });
    },
    LONG_MS,
  );

  it.each([
    ['in the background', 'sleep 300 >/dev/null 2>&1 & echo "$!" >"$1/pid"; exit 0'],
    [
      'in a session of its own',
      'setsid sh -c \'echo "$$" >"$1/pid"; exec sleep 300\' sh "$1" >/dev/null 2>&1 & sleep 1; exit 0',
    ],
    ['and fails', 'sleep 300 >/dev/null 2>&1 & echo "$!" >"$1/pid"; exit 4'],
  ])(
    'is no backup by a command that leaves what it started %s',
    async (_, script) => {
      await giveTree({ commands: { copy: ['sh', '-c', script, 'sh', given] } });
      const { code, said } = await fsbackup('run');
      expect(code, said).toBe(40);
      expect(said).toMatch(/left running: sleep \(\d+\)|exit code 4/);
      expect(isAlive(Number(await readFile(path.join(given, 'pid'), 'utf8')))).toBe(false);
      expect((await list()).length).toBe(0);
    },
    LONG_MS,
  );

  it('is restored from by no command that leaves what it started', async () => {
    await giveTree();
    expect((await fsbackup('run')).code).toBe(0);
    const { repository: { commands } = {} } = commandTarget(given);
    const script = 'sleep 300 >/dev/null 2>&1 & echo "$!" >"$1/pid"; mkdir -p ".$2/www"; exit 0';
    await giveTree({ commands: { ...commands, restore: ['sh', '-c', script, 'sh', given, source] } });
    const out = path.join(directory, 'out');
    const { code, said } = await fsbackup('restore', 'srv', '--to', out, path.join(source, 'www'));
    expect(code, said).toBe(40);
    expect(said).toContain('left running: sleep');
    expect(isAlive(Number(await readFile(path.join(given, 'pid'), 'utf8')))).toBe(false);
  });

  it.each(['mkfifo "$1"', 'ln -s /etc/passwd "$1"'])(
    'is no backup where what tells of unreadable files is none: %s',
    async (put) => {
      const script = `rm "$1"; ${put}`;
      await giveTree({ commands: { copy: ['sh', '-ec', script, 'sh', '{unreadable}'] } });
      const { code, said } = await fsbackup('run');
      expect(said).toContain('is not a regular file');
      expect(code).toBe(40);
    },
  );

  it('is a backup by a command whose last words are still written down', async () => {
    const log = '(sleep 1; cat >"$1/log") <&3 3<&- >/dev/null 2>&1 &';
    await giveTree({
      commands: { copy: ['bash', '-c', `exec 3< <(echo done); ${log} exit 0`, 'bash', given] },
    });
    const { code, said } = await fsbackup('run');
    expect(code, said).toBe(0);
    expect(await readFile(path.join(given, 'log'), 'utf8')).toBe('done\n');
  });

  it.each([
    { where: 'a directory', to: () => ['--to', path.join(directory, 'out')] },
    { where: 'its place', to: () => ['--in-place', '--force'] },
  ])(
    'of a restore to $where that is killed, recover removes the names that hard links were made by',
    async ({ to }) => {
      for (const name of ['one', 'two']) {
        await mkdir(path.join(source, name));
        await must('cp', path.join(source, 'large'), path.join(source, name, 'large'));
      }
      await must('ln', path.join(source, 'www', 'page'), path.join(source, 'one', 'page'));
      await must('ln', path.join(source, 'www', 'page'), path.join(source, 'two', 'page'));
      const gate = path.join(directory, 'gate');
      // It is read twice: for the names of the links, and for what they are of. The second time it ends only at the gate,
      // or once all of it is gone: it may look after the test has ended.
      const read = `if [ -e "$2/once" ]; then head -c -100000 "$1"; while [ -d ${directory} ] && ! [ -e ${gate} ]; do sleep 0.05; done; tail -c 100000 "$1"; else touch "$2/once"; cat "$1"; fi`;
      await giveArchive({ read });
      expect((await cli.run('run', '--config', config)).exitCode).toBe(0);
      const archive = (await readdir(given)).find((name) => name.endsWith('.tar.zst')) ?? '';
      const listed = await must(
        'tar',
        '--zstd',
        '--list',
        '--verbose',
        `--file=${path.join(given, archive)}`,
      );
      // The name that the archive has the content with depends on the order of the directory.
      const [, linked = ''] = / (\S+)\/page link to /.exec(listed) ?? [];
      const wanted = `/${linked}`;
      const below = to()[0] === '--to' ? path.join(directory, 'out', linked) : wanted;
      if (to()[0] === '--in-place') await rm(path.join(wanted, 'page'));
      const before = to()[0] === '--in-place' ? await readdir(wanted) : [];

      const started = cli.start('restore', 'srv', '--config', config, ...to(), wanted);
      const temporary = async (): Promise<string[]> =>
        (await readdir(below).catch(() => [])).filter((name) => name.startsWith('.fsbackup-link-'));
      try {
        while ((await temporary()).length === 0) {
          if (started.hasEnded) throw new Error(`it ended before: ${started.output}`);
          await sleep(10);
        }
        expect((await cli.recover()).value.leftAlone).toMatchObject([{ kind: 'restore-links' }]);
        started.kill('SIGKILL');
        await started.ended();
        expect(await temporary()).toHaveLength(1);
        const { exitCode, value } = await cli.recover();
        expect([exitCode, value.failed]).toEqual([0, []]);
        expect(value.released).toMatchObject([{ kind: 'restore-links', job: 'srv@restore' }]);
      } finally {
        started.kill('SIGKILL');
        await writeFile(gate, '');
      }
      expect(await temporary()).toEqual([]);
      // Only its own: what was there is there still.
      expect(await readdir(below)).toEqual(expect.arrayContaining(before));
      expect(await cli.journalEntries()).toEqual([]);
    },
  );
});
