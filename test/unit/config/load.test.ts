import { chmod, chown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, type LoadOptions } from '../../../src/config/load.js';
import { configFile } from '../../../src/config/read-files.js';
import type { JobConfig } from '../../../src/config/types.js';
import type { CalendarAnswer } from '../../../src/system/calendar-event.js';
import { describeNeeding } from '../../support/capabilities.js';

const MINIMAL = 'version: 1\njobs:\n  srv: { sources: [/srv], targets: [/backup] }\n';

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'fsbackup-config-'));
  file = path.join(directory, 'config.yaml');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function load(options: LoadOptions = {}): ReturnType<typeof loadConfig> {
  return loadConfig({ configFile: file, env: {}, freezes: [], hungTaskTimeoutMs: 120_000, ...options });
}

async function loadJob(text: string, options: LoadOptions = {}): Promise<JobConfig | undefined> {
  await writeFile(file, text, { mode: 0o600 });
  return (await load(options)).jobs[0];
}

describe('loadConfig', () => {
  it('fills in every default', async () => {
    await expect(loadJob(MINIMAL)).resolves.toEqual({
      name: 'srv',
      sources: [{ path: '/srv', snapshot: 'auto', freezeMode: 'auto', exclude: [], recursive: false }],
      targets: [{ path: '/backup', engine: 'rsync', mustBeMountpoint: false }],
      quiesce: [],
      freeze: { timeoutMs: 10_000, maxHoldMs: 60_000 },
      attempts: 3,
    });
  });

  it('gives a target the rules of its job, unless it has its own', async () => {
    const text =
      'version: 1\njobs:\n  srv:\n    sources: [/srv]\n    keep: { daily: 7, within: 2w }\n' +
      '    targets: [/backup, { path: /usb, keep: { last: 2 } }]\n';
    await expect(loadJob(text)).resolves.toMatchObject({
      targets: [
        { path: '/backup', keep: { daily: 7, withinMs: 14 * 86_400_000 } },
        { path: '/usb', keep: { last: 2 } },
      ],
    });
  });

  it('takes the flag over the environment over the job over the defaults of the file', async () => {
    const text =
      'version: 1\nfreeze: { timeout: 4s, maxHold: 40s }\nattempts: 4\n' +
      'jobs:\n  srv: { sources: [/srv], targets: [/backup], freeze: { timeout: 5s }, attempts: 5 }\n';
    await expect(loadJob(text)).resolves.toMatchObject({
      freeze: { timeoutMs: 5000, maxHoldMs: 40_000 },
      attempts: 5,
    });
    const env = { FSBACKUP_TIMEOUT: '6', FSBACKUP_MAX_HOLD: '50s', FSBACKUP_ATTEMPTS: '6' };
    await expect(loadJob(text, { env })).resolves.toMatchObject({
      freeze: { timeoutMs: 6000, maxHoldMs: 50_000 },
      attempts: 6,
    });
    const overrides = { timeoutMs: 7000, attempts: 7 };
    await expect(loadJob(text, { env, overrides })).resolves.toMatchObject({
      freeze: { timeoutMs: 7000, maxHoldMs: 50_000 },
      attempts: 7,
    });
  });

  it('takes --config over FSBACKUP_CONFIG', async () => {
    await writeFile(file, MINIMAL);
    const env = { FSBACKUP_CONFIG: path.join(directory, 'other.yaml') };
    await expect(load({ env })).resolves.toMatchObject({ version: 1 });
    await expect(loadConfig({ env, hungTaskTimeoutMs: null })).rejects.toMatchObject({
      code: 'usage',
      message: `There is no configuration file ${path.join(directory, 'other.yaml')}`,
    });
  });

  it('takes an empty FSBACKUP_CONFIG as unset, and an empty --config as a mistake', () => {
    expect(configFile(undefined, { FSBACKUP_CONFIG: '' })).toBe('/etc/fsbackup/config.yaml');
    expect(() => configFile('', {})).toThrow('--config names no file');
  });

  it('names the variable that cannot hold', async () => {
    await writeFile(file, MINIMAL);
    const refused = [
      ['FSBACKUP_TIMEOUT', 'soon'],
      ['FSBACKUP_TIMEOUT', '1'],
      ['FSBACKUP_TIMEOUT', '90'],
      ['FSBACKUP_MAX_HOLD', '10m'],
      ['FSBACKUP_NO_TIMEOUT', 'perhaps'],
      ['FSBACKUP_ATTEMPTS', '0'],
    ] as const;
    for (const [name, value] of refused) {
      await expect(load({ env: { [name]: value } })).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining(name),
      });
    }
  });

  it('takes no timeout only when that is said beside it', async () => {
    await expect(
      loadJob(MINIMAL, { overrides: { timeoutMs: 1000, noTimeout: true } }),
    ).resolves.toMatchObject({ freeze: { timeoutMs: null, maxHoldMs: 60_000 } });
    await expect(loadJob(MINIMAL, { overrides: { timeoutMs: 0 } })).rejects.toMatchObject({
      message: expect.stringContaining('--timeout: 0s means no timeout'),
    });
  });

  it('lets a hold over the hung-task limit pass when the check is off or lifted', async () => {
    const overrides = { maxHoldMs: 600_000 };
    await expect(loadJob(MINIMAL, { overrides })).rejects.toMatchObject({ code: 'usage' });
    await expect(loadJob(MINIMAL, { overrides, hungTaskTimeoutMs: null })).resolves.toMatchObject({
      freeze: { maxHoldMs: 600_000 },
    });
  });

  it('judges flags, variables and the hung-task limit for the jobs alone that are to be frozen', async () => {
    const text =
      'version: 1\nfreeze: { maxHold: 80s }\njobs:\n' +
      '  long: { sources: [/long], targets: [/backup], freeze: { maxHold: 100s } }\n' +
      '  srv: { sources: [/srv], targets: [/backup] }\n';
    const env = { FSBACKUP_TIMEOUT: '90', FSBACKUP_ATTEMPTS: '9' };
    await expect(loadJob(text, { env, freezes: ['long'] })).resolves.toMatchObject({
      freeze: { timeoutMs: 90_000, maxHoldMs: 100_000 },
      attempts: 9,
    });
    for (const freezes of [['srv'], ['long', 'srv'], []]) {
      await expect(load({ env, freezes })).rejects.toMatchObject({
        message: expect.stringContaining('FSBACKUP_TIMEOUT: 90s is longer') as string,
      });
    }
    const limit = { freezes: ['srv'], hungTaskTimeoutMs: 90_000 };
    await expect(load(limit)).resolves.toBeDefined();
    await expect(load({ ...limit, freezes: ['long'] })).rejects.toMatchObject({ code: 'usage' });
  });

  it('looks at none of that where nothing is to be frozen, but at the files', async () => {
    const env = { FSBACKUP_TIMEOUT: '90', FSBACKUP_MAX_HOLD: 'soon', FSBACKUP_ATTEMPTS: '0' };
    await expect(
      loadJob(MINIMAL, { env, freezes: undefined, hungTaskTimeoutMs: 30_000 }),
    ).resolves.toMatchObject({ freeze: { timeoutMs: 10_000, maxHoldMs: 60_000 }, attempts: 3 });
    const contradictory = MINIMAL.replace('version: 1', 'version: 1\nfreeze: { timeout: 2m }');
    await expect(loadJob(contradictory, { freezes: undefined })).rejects.toMatchObject({ code: 'usage' });
  });

  it('tells a built-in default over the hung-task limit at the job', async () => {
    await expect(loadJob(MINIMAL, { hungTaskTimeoutMs: 30_000 })).rejects.toMatchObject({
      message: expect.stringContaining('hung-task limit of 30s'),
    });
  });

  it.each(['[]', "['']", "['', x]"])('refuses %s, which names no program to run', async (command) => {
    const text = MINIMAL.replace(' }', `, quiesce: [{ name: db, before: ${command} }] }`);
    await expect(loadJob(text)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('quiesce'),
    });
  });

  it('refuses a .yml in conf.d, which would be passed over', async () => {
    await writeFile(file, MINIMAL);
    await mkdir(path.join(directory, 'conf.d'));
    await writeFile(path.join(directory, 'conf.d/web.yml'), 'version: 1\n');
    await expect(load()).rejects.toMatchObject({ hint: expect.stringContaining('web.yaml') });
  });

  it('refuses a symlink to what is not there today, in conf.d and in its place', async () => {
    await writeFile(file, MINIMAL);
    const dropIns = path.join(directory, 'conf.d');
    const shared = path.join(directory, 'shared');
    await mkdir(shared);
    await writeFile(path.join(shared, 'db.yaml'), MINIMAL.replace('srv', 'db'));
    const names = async (): Promise<string[]> => (await load()).jobs.map(({ name }) => name);
    const refused = { code: 'usage', message: expect.stringContaining('which is not there') as string };
    await mkdir(dropIns);
    await symlink(path.join(shared, 'db.yaml'), path.join(dropIns, 'db.yaml'));
    // As of an editor that has a file open: no name of a file to be read.
    await symlink('root@host.1', path.join(dropIns, '.#web.yaml'));
    await expect(names()).resolves.toEqual(['srv', 'db']);
    await rename(shared, `${shared}.away`);
    await expect(names()).rejects.toMatchObject(refused);
    await rm(dropIns, { recursive: true });
    await symlink(shared, dropIns);
    await expect(names()).rejects.toMatchObject(refused);
    await rename(`${shared}.away`, shared);
    await expect(names()).resolves.toEqual(['srv', 'db']);
  });
});

describe('trust', () => {
  it.each([0o620, 0o602, 0o666])('refuses a file of mode %o', async (mode) => {
    await writeFile(file, MINIMAL);
    await chmod(file, mode);
    await expect(load()).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining(file) });
  });

  it('refuses a directory that others may write to', async () => {
    await writeFile(file, MINIMAL);
    await chmod(directory, 0o777);
    await expect(load()).rejects.toMatchObject({
      message: `${directory} may be written by its group or by others`,
    });
  });

  it('refuses a conf.d, and a file in it, that others may write to', async () => {
    await writeFile(file, MINIMAL);
    const dropIns = path.join(directory, 'conf.d');
    await mkdir(dropIns);
    await writeFile(path.join(dropIns, 'a.yaml'), 'version: 1\n');
    await chmod(dropIns, 0o770);
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining(dropIns) });
    await chmod(dropIns, 0o700);
    await chmod(path.join(dropIns, 'a.yaml'), 0o622);
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining('a.yaml') });
  });

  it('refuses a symlink into a directory that others may write to', async () => {
    const open = path.join(directory, 'open');
    // Below a directory that nobody else may enter they could not.
    await chmod(directory, 0o755);
    await mkdir(open);
    await chmod(open, 0o777);
    await writeFile(file, MINIMAL);
    await rename(file, path.join(open, 'real.yaml'));
    await symlink(path.join(open, 'real.yaml'), file);
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining(open) });
  });

  it('refuses what is no file', async () => {
    await mkdir(file);
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining('not a text file') });
  });
});

describeNeeding(['root'], 'ownership', () => {
  it("refuses another user's file and directory", async () => {
    await writeFile(file, MINIMAL);
    await chown(file, 65_534, 65_534);
    await expect(load()).rejects.toMatchObject({
      code: 'usage',
      message: `${file} belongs to uid 65534, whom fsbackup does not trust`,
    });
    await chown(file, 0, 0);
    await chown(directory, 65_534, 65_534);
    await expect(load()).rejects.toMatchObject({ message: expect.stringContaining(`${directory} belongs`) });
  });
});

describe('the schedules of jobs', () => {
  const jobs =
    'version: 1\njobs:\n' +
    '  srv: { sources: [/srv], targets: [/backup], schedule: dayly }\n' +
    '  home: { sources: [/home], targets: [/backup], schedule: daily }\n' +
    '  old: { sources: [/old], targets: [/backup], schedule: 2020-01-01 }\n' +
    '  none: { sources: [/none], targets: [/backup] }\n';

  function checked(answers: Readonly<Record<string, CalendarAnswer>>): {
    loaded: Promise<JobConfig | undefined>;
    warnings: string[];
  } {
    const warnings: string[] = [];
    const loaded = loadJob(jobs, {
      schedules: {
        examine: async (calendar) => answers[calendar] ?? { kind: 'known', comesAgain: true },
        warn: (message) => void warnings.push(message),
      },
    });
    return { loaded, warnings };
  }

  it('are wrong where systemd does not know them: the job, the value, where it stands', async () => {
    const { loaded } = checked({ dayly: { kind: 'refused' } });
    const error: unknown = await loaded.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      exitCode: 2,
      problems: [
        {
          file,
          line: 3,
          column: 57,
          path: 'jobs.srv.schedule',
          message: expect.stringMatching(/^systemd knows no calendar event "dayly": write /) as string,
        },
      ],
    });
  });

  it('are not called right where nobody could be asked, nor wrong', async () => {
    const { loaded, warnings } = checked({
      dayly: { kind: 'unasked', why: 'systemd-analyze is not installed' },
      '2020-01-01': { kind: 'known', comesAgain: false },
    });
    await expect(loaded).resolves.toMatchObject({ name: 'srv', schedule: 'dayly' });
    expect(warnings).toEqual([
      `${file}:3:57: jobs.srv.schedule: whether systemd knows the calendar event "dayly" was not checked: systemd-analyze is not installed`,
      `${file}:5:57: jobs.old.schedule: the calendar event "2020-01-01" never comes again`,
    ]);
  });

  it('are nobody asked about by a run', async () => {
    await expect(loadJob(jobs)).resolves.toMatchObject({ schedule: 'dayly' });
  });
});

describe('commands', () => {
  it('that were written as one string are warned of, where no program has that name', async () => {
    const warnings: string[] = [];
    const step = "{ name: db, before: ['echo hold'], after: ['/opt/my tool', x] }";
    const drill = "{ command: ['check it {directory}'] }";
    const target =
      "{ repository: far, engine: tar, commands: { write: ['ssh host cat'], read: [ssh, host], remove: [rm], size: [du] } }";
    const loaded = loadJob(
      `version: 1\njobs:\n  srv: { sources: [/srv], targets: [${target}], quiesce: [${step}], drill: ${drill} }`,
      {
        programs: {
          isProgram: async (name) => name === '/opt/my tool',
          warn: (message) => void warnings.push(message),
        },
      },
    );
    await expect(loaded).resolves.toMatchObject({ name: 'srv' });
    expect(warnings).toHaveLength(3);
    expect(warnings.join('\n')).toMatch(
      /jobs\.srv\.targets\[0\]\.commands\.write\[0\]: no program is called 'ssh host cat'[^]*jobs\.srv\.quiesce\[0\]\.before\[0\]: no program is called 'echo hold': .*\[echo, hold, …\]\n[^]*drill\.command/,
    );
  });
});
