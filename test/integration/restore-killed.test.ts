import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeNeeding } from '../support/capabilities.js';
import { findProcesses } from '../support/find-processes.js';
import { FsbackupCli, type StartedCli } from '../support/fsbackup-cli.js';
import { commandTarget, resticRepository } from '../support/repositories.js';
import { throwawayDisks } from '../support/throwaway-filesystem.js';

const NEEDS = [
  'root',
  'loop',
  'btrfs',
  'program:btrfs',
  'program:zstd',
  'program:restic',
  'program:rsync',
] as const;
const ENGINES = ['command', 'restic', 'btrfs-send'] as const;
type Engine = (typeof ENGINES)[number];
/** A bound against hanging for ever. */
const LIMIT_MS = 100_000;

describeNeeding(NEEDS, 'a restore that is killed', () => {
  const disks = throwawayDisks(afterAll);
  const startedOnes: StartedCli[] = [];
  let cli: FsbackupCli;
  let config: string;
  let source: string;
  let gate: string;
  let count = 0;

  /** A command that restores only once the gate is there, and says in a file that it has begun. */
  function gated(begun: string, restore: readonly string[]): string[] {
    const script =
      'echo half > half; touch "$1"; until [ -e "$2" ]; do sleep 0.05; done; rm half; shift 2; exec "$@"';
    return ['bash', '-c', script, 'bash', begun, gate, ...restore];
  }

  function start(...args: string[]): StartedCli {
    const started = cli.start(...args);
    startedOnes.push(started);
    return started;
  }

  // Those that wait at the gate would wait for ever.
  afterAll(async () => {
    await writeFile(gate, '');
    for (const started of startedOnes) await started.ended();
  });

  beforeAll(async () => {
    const at = (name: string): string => path.join(disks.directory, name);
    cli = new FsbackupCli(at('state'));
    [config, gate] = [at('config.yaml'), at('gate')];
    source = (await disks.filesystem({ fstype: 'btrfs', name: 'origin' })).mountpoint;
    await mkdir(path.join(source, 'www'));
    await writeFile(path.join(source, 'www', 'page'), 'page');
    await mkdir(at('sent'));
    const { path: _path, ...command } = commandTarget(at('store'));
    const commands = command.repository?.commands;
    const targets = {
      command: {
        ...command.repository,
        commands: { ...commands, restore: gated(at('begun'), commands?.restore ?? []) },
      },
      restic: resticRepository(at('repository')).target.repository,
      'btrfs-send': { path: at('sent') },
    };
    const jobs = Object.fromEntries(
      ENGINES.map((engine) => [engine, { sources: [source], targets: [{ engine, ...targets[engine] }] }]),
    );
    await writeFile(config, JSON.stringify({ version: 1, jobs }), { mode: 0o600 });
    const { exitCode, stdout, stderr } = await cli.run('run', '--config', config);
    expect(exitCode, stdout + stderr).toBe(0);
  }, 2 * LIMIT_MS);

  function restoreArguments(engine: Engine, out: string): string[] {
    return ['restore', engine, '--config', config, '--to', out, '--json'];
  }

  async function newDirectory(): Promise<string> {
    count += 1;
    const out = path.join(disks.directory, `out-${count}`);
    await mkdir(out);
    return out;
  }

  async function until(isSo: () => Promise<boolean>, started: StartedCli): Promise<void> {
    const deadline = Date.now() + LIMIT_MS;
    while (!(await isSo())) {
      if (started.hasEnded || Date.now() > deadline)
        throw new Error(`it does not come to it: ${started.output}`);
      await sleep(10);
    }
  }

  /** Kills a restore when there is something in what it staged. */
  async function killed(engine: Engine): Promise<{ out: string; staged: string }> {
    const out = await newDirectory();
    await rm(gate, { force: true });
    await rm(path.join(disks.directory, 'begun'), { force: true });
    const started = start(...restoreArguments(engine, out));
    let staged = '';
    await until(async () => {
      staged = (await readdir(out)).find((name) => name.startsWith('.fsbackup-restore-')) ?? '';
      if (staged === '') return false;
      if (engine === 'command') return (await readdir(disks.directory)).includes('begun');
      return (await readdir(path.join(out, staged))).length > 0;
    }, started);
    started.kill('SIGKILL');
    expect(await started.ended(), started.output).toBe('SIGKILL');
    expect(await cli.journalEntries()).toHaveLength(1);
    return { out, staged: path.join(out, staged) };
  }

  it.each(ENGINES)('by %s leaves what recover removes, with the program that works in it', async (engine) => {
    const { out, staged } = await killed(engine);
    const program = { command: 'bash', restic: 'restic', 'btrfs-send': 'btrfs' }[engine];
    const outlived = await findProcesses(program, staged);
    expect(outlived.length > 0 || engine !== 'command').toBe(true);
    const { exitCode, value } = await cli.recover();
    expect([exitCode, value.failed]).toEqual([0, []]);
    expect(value.released).toMatchObject([
      { kind: 'staging', job: `${engine}@restore`, what: `what a restore staged in ${staged}` },
    ]);
    expect(await readdir(out)).toEqual([]);
    expect(await cli.journalEntries()).toEqual([]);
    expect(await findProcesses(program, staged)).toEqual([]);
    expect((await cli.recover()).value.released).toEqual([]);
  });

  it('leaves what the next restore removes, of any job, which itself comes to its end', async () => {
    const { out } = await killed('command');
    const next = await newDirectory();
    const { exitCode, stderr } = await cli.run(...restoreArguments('restic', next));
    expect(exitCode, stderr).toBe(0);
    expect(await readdir(out)).toEqual([]);
    expect(await readFile(path.join(next, source, 'www/page'), 'utf8')).toBe('page');
    expect(await readdir(next)).toEqual([source.split('/')[1]]);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('leaves what is not removed when another is in its place, and that is told each time', async () => {
    const { staged } = await killed('command');
    await rename(staged, `${staged}-moved`);
    await mkdir(staged);
    await writeFile(path.join(staged, 'theirs'), 'theirs');
    const { exitCode, value } = await cli.recover();
    expect(exitCode).toBe(60);
    expect(value.failed).toMatchObject([
      {
        kind: 'staging',
        message: `${staged} is not removed: no restore made it. See what it is, and move or remove it by hand; then run fsbackup recover.`,
      },
    ]);
    const { exitCode: restored, stderr } = await cli.run(...restoreArguments('restic', await newDirectory()));
    expect([restored, stderr]).toEqual([0, expect.stringContaining('no restore made it')]);
    expect(await readdir(staged)).toEqual(['theirs']);
    await rm(staged, { recursive: true });
    expect((await cli.recover()).exitCode).toBe(0);
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('does not take from one that lives, and two of a job go on beside each other', async () => {
    await rm(gate, { force: true });
    const outs = [await newDirectory(), await newDirectory()];
    const both = outs.map((out) => start(...restoreArguments('command', out)));
    for (const [index, started] of both.entries())
      await until(async () => (await readdir(outs[index] ?? '')).length > 0, started);
    const { exitCode, value } = await cli.recover();
    expect([exitCode, value.released]).toEqual([0, []]);
    expect(value.leftAlone.map(({ job }) => String(job)).toSorted()).toEqual([
      'command@restore',
      'command@restore-2',
    ]);
    await writeFile(gate, '');
    for (const started of both) expect(await started.ended(), started.output).toBe(0);
    for (const out of outs) {
      expect(await readFile(path.join(out, source, 'www/page'), 'utf8')).toBe('page');
      expect(await readdir(out)).toEqual([source.split('/')[1]]);
    }
    expect(await cli.journalEntries()).toEqual([]);
  });

  it('in a drill leaves what goes with it', async () => {
    await rm(gate, { force: true });
    const begun = path.join(disks.directory, 'begun');
    await rm(begun, { force: true });
    const place = await newDirectory();
    const drill = ['backups', 'verify', 'command', '--drill', '--drill-directory', place, '--config', config];
    const started = start(...drill);
    await until(async () => (await readdir(disks.directory)).includes('begun'), started);
    started.kill('SIGKILL');
    await started.ended();
    const { exitCode, value } = await cli.recover();
    expect([exitCode, value.released.map(({ kind }) => kind)]).toEqual([0, ['staging', 'drill']]);
    expect(await readdir(place)).toEqual([]);
  });
});
