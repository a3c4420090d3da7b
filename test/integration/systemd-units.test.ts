import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import ConfigValidate from '../../src/commands/config/validate.js';
import { planInstall } from '../../src/schedule/plan-install.js';
import { installFacts } from '../../src/schedule/schedule-host.js';
import { UnitDirectory } from '../../src/schedule/unit-directory.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { aJob } from '../support/plan-facts.js';
import { runCommandClass } from '../support/run-command-class.js';

/** systemd need not run for this: it reads the units as it would. */
describeNeeding(['program:systemd-analyze'], 'the units that schedule install writes', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'units-'));
    const repository = {
      repository: 'x',
      initialise: false,
      password: { credential: 'restic-srv' },
      environment: {},
    };
    const job = aJob({
      name: 'srv-db.1',
      targets: [{ path: '/backup', engine: 'restic', mustBeMountpoint: false, repository }],
    });
    const facts = await installFacts('/etc/with space 50%.yaml');
    const files = planInstall([{ job, calendar: 'Mon..Fri *-*-* 22:00 Europe/Berlin' }], facts);
    await new UnitDirectory(directory).install(files);
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const verify = (...names: string[]) =>
    runCommand(['systemd-analyze', 'verify', ...names.map((name) => path.join(directory, name))], {
      timeoutMs: 60_000,
      // Only the units of the directory, and what of the system they need.
      env: { SYSTEMD_UNIT_PATH: `${directory}:/usr/lib/systemd/system:/lib/systemd/system` },
    });

  it('are understood, every line of them, drop-ins included', async () => {
    const { exitCode, stdout, stderr } = await verify('fsbackup@srv-db.1.service', 'fsbackup@srv-db.1.timer');
    expect(stdout + stderr).toBe('');
    expect(exitCode).toBe(0);
  });

  it('would not be if a line were wrong', async () => {
    const dropIn = path.join(directory, 'fsbackup@srv-db.1.service.d/60-wrong.conf');
    await writeFile(dropIn, '[Service]\nKillModus=mixed\n');
    const { stderr } = await verify('fsbackup@srv-db.1.service');
    expect(stderr).toContain('KillModus');
  });
});

describeNeeding(['program:systemd-analyze'], 'a schedule that systemd does not know', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'calendar-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is no valid configuration, and the line says so', async () => {
    const file = path.join(directory, 'config.yaml');
    const write = (schedule: string) =>
      writeFile(
        file,
        `version: 1\njobs:\n  srv:\n    sources: [/srv]\n    targets: [/b]\n    schedule: ${schedule}\n`,
        { mode: 0o600 },
      );
    await write('dayly');
    const wrong = await runCommandClass(ConfigValidate, ['--config', file]);
    expect(wrong.stderr).toMatch(
      `Error: ${file}:6:15: jobs.srv.schedule: systemd knows no calendar event "dayly": write for example`,
    );
    expect(wrong).toMatchObject({ exitCode: 2, stdout: '' });
    await write('2020-01-01');
    const past = await runCommandClass(ConfigValidate, ['--config', file, '--json']);
    expect(past.exitCode).toBe(0);
    expect(JSON.parse(past.stdout)).toMatchObject({
      valid: true,
      warnings: [expect.stringMatching(/calendar event "2020-01-01" never comes again$/)],
    });
  });
});
