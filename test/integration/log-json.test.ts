import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { logEventSchema, type LogEvent } from '../../src/report/log-event.js';
import { describeNeeding } from '../support/capabilities.js';
import { FsbackupCli } from '../support/fsbackup-cli.js';
import { throwawayDisks } from '../support/throwaway-filesystem.js';

describeNeeding(['root', 'loop', 'ext4', 'xfs', 'program:rsync'], '--log-json', () => {
  const disks = throwawayDisks(afterAll);
  let cli: FsbackupCli;
  let source: string;
  let target: string;

  beforeAll(async () => {
    cli = new FsbackupCli(disks.directory);
    const storage = await disks.filesystem({ fstype: 'xfs' });
    source = (await disks.filesystem({ fstype: 'ext4', on: storage })).mountpoint;
    target = path.join(disks.directory, 'target');
    await mkdir(target);
    await writeFile(path.join(source, 'file'), 'content');
    for (const name of ['a', 'b', 'c']) {
      await mkdir(path.join(source, name, 'deep'), { recursive: true });
      await writeFile(path.join(source, name, 'deep', 'file'), name);
    }
  });

  /** The events on stderr; throws for a line that is none. */
  async function events(
    ...args: string[]
  ): Promise<{ events: LogEvent[]; stdout: string; exitCode: unknown }> {
    const { stderr, stdout, exitCode } = await cli.run(...args, '--log-json');
    const lines = stderr.split('\n').filter((line) => line !== '');
    return { events: lines.map((line) => logEventSchema.parse(JSON.parse(line))), stdout, exitCode };
  }

  it('tells of a run, a restore and a verification by events alone', async () => {
    const run = await events('run', '--job', 'srv', '--source', source, '--to', target);
    expect(run.exitCode).toBe(0);
    expect(run.stdout).toContain('backed up');
    const frozen = run.events.filter((event) => event.event === 'step-started' && event.frozen);
    expect(frozen.map((event) => ('step' in event ? event.step : ''))).toEqual(
      expect.arrayContaining(['freeze', 'snapshot', 'thaw']),
    );
    expect(run.events.at(0)).toMatchObject({ event: 'job-started', job: 'srv', backupId: null });
    expect(run.events.at(-1)).toMatchObject({ event: 'job-finished', outcome: 'success', exitCode: 0 });
    expect(run.events.some(({ event }) => event === 'progress')).toBe(true);

    const from = ['srv', '--from', target];
    const to = path.join(disks.directory, 'out');
    const kinds = ['job-started', 'step-started', 'progress', 'step-finished', 'job-finished'];
    const restored = await events('restore', ...from, '--to', to, '--json');
    expect(JSON.parse(restored.stdout)).toMatchObject({ outcome: 'success' });
    expect(new Set(restored.events.map(({ event }) => event))).toEqual(new Set(kinds));
    // Four files, in directories that are none.
    expect(restored.events.findLast(({ event }) => event === 'progress')).toMatchObject({
      files: 4,
      totalFiles: 4,
    });
    const verified = await events('backups', 'verify', ...from, '--full');
    expect(new Set(verified.events.map(({ event }) => event))).toEqual(new Set(kinds));
    expect(verified.events.at(-1)).toMatchObject({ job: 'srv', outcome: 'ok', exitCode: 0 });
  });

  it('ends with the error, that of the command line too', async () => {
    const missing = await events('restore', 'none', '--from', target, '--to', '/tmp/none');
    expect(missing.events).toMatchObject([{ event: 'error', code: 'usage', exitCode: 2 }]);
    const unparsed = await events('run', '--no-such-flag');
    expect(unparsed.events).toMatchObject([{ event: 'error', code: 'usage', exitCode: 2 }]);
    expect(unparsed.stdout).toBe('');
  });

  it('tells by events what is told before there is a job to tell it of', async () => {
    const gone = path.join(disks.directory, 'gone');
    const config = path.join(disks.directory, 'config.yaml');
    const targets = JSON.stringify([{ path: target }, { path: gone }]);
    const sources = JSON.stringify([{ path: path.join(source, 'a'), snapshot: 'none' }]);
    await writeFile(config, `version: 1\njobs:\n  two:\n    sources: ${sources}\n    targets: ${targets}\n`, {
      mode: 0o600,
    });
    await mkdir(gone);
    const run = await events('run', '--config', config);
    expect(run.events.at(-1)).toMatchObject({ event: 'job-finished', job: 'two' });
    await rm(gone, { recursive: true });
    const to = path.join(disks.directory, 'elsewhere');
    const absent = {
      event: 'warning',
      message: expect.stringContaining(`${gone} does not exist`) as unknown,
    };
    for (const args of [
      ['backups', 'verify', 'two'],
      ['restore', 'two', '--to', to],
      ['restore', 'two', '--to', path.join(disks.directory, 'third'), '--json'],
    ]) {
      const { events: told, exitCode } = await events(...args, '--config', config);
      expect(exitCode).toBe(0);
      expect(told.at(0)).toMatchObject(absent);
      expect(told.at(-1)).toMatchObject({ event: 'job-finished', job: 'two', exitCode: 0 });
    }
  });

  it('ends with an event when nobody can take what it prints', async () => {
    const verify = ['backups', 'verify', 'srv', '--from', target];
    const toFull = ['sh', '-c', 'exec "$@" > /dev/full', 'sh'];
    const full = await cli.runUnder(toFull, ...verify, '--log-json');
    expect(full.exitCode).toBe(1);
    const lines = full.stderr
      .trim()
      .split('\n')
      .map((line) => logEventSchema.parse(JSON.parse(line)));
    expect(lines.at(-1)).toMatchObject({ event: 'error', code: 'failed', exitCode: 1 });
    const traced = await cli.runUnder(['env', 'DEBUG=1'], 'restore', 'srv', '--log-json');
    expect(logEventSchema.parse(JSON.parse(traced.stderr))).toMatchObject({
      event: 'error',
      stack: expect.stringContaining('FsbackupError') as unknown,
    });
  });
});
