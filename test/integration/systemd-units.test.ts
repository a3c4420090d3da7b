import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planInstall } from '../../src/schedule/plan-install.js';
import { installFacts } from '../../src/schedule/schedule-host.js';
import { UnitDirectory } from '../../src/schedule/unit-directory.js';
import { runCommand } from '../../src/system/run-command.js';
import { describeNeeding } from '../support/capabilities.js';
import { aJob } from '../support/plan-facts.js';

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
