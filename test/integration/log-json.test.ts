import { mkdir, writeFile } from 'node:fs/promises';
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
});
