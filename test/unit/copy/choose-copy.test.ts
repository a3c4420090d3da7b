import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseCopy, describeChoice, type ChosenCopy } from '../../../src/copy/backup/choose-copy.js';
import { knownVerifications } from '../../../src/copy/verify/known-verifications.js';
import { verificationsFrom, type VerifyRecord } from '../../../src/copy/verify/verify-history.js';
import { makeBackup } from '../../support/backups.js';

const OLD = '20261119T010000Z-aaaaaa';
const NEW = '20261120T010000Z-bbbbbb';

let directory: string;
let near: string;
let far: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'choose-copy-'));
  near = path.join(directory, 'near');
  far = path.join(directory, 'far');
  for (const target of [near, far]) {
    await mkdir(target);
    for (const [backupId, day] of [
      [OLD, 19],
      [NEW, 20],
    ] as const) {
      const completedAt = `2026-11-${day}T01:00:05.000Z`;
      // Tar shares nothing between backups: what fails is one alone.
      await makeBackup({ target, job: 'srv', backupId }, { engine: 'tar', completedAt });
    }
  }
});
afterEach(() => rm(directory, { recursive: true }));

function failed(target: string, backupId: string, changes: Partial<VerifyRecord> = {}): VerifyRecord {
  const finishedAt = '2026-11-21T01:00:00.000Z';
  return {
    version: 1,
    target,
    job: 'srv',
    backupId,
    mode: 'full',
    outcome: 'failed',
    finishedAt,
    ...changes,
  };
}

function choose(
  selector: string,
  records: readonly VerifyRecord[],
  { targets = [near, far], mayBeBad = false } = {},
): Promise<ChosenCopy> {
  return chooseCopy(targets, selector, {
    verifications: verificationsFrom(records),
    mayBeBad,
    warn: () => undefined,
  });
}

const SELECTORS = ['srv', 'srv@latest', 'srv@2026-11-20', 'srv@bbb', `srv@${NEW}`];

describe.each(SELECTORS)('of the copies of %s', (selector) => {
  it('the first is taken while nothing speaks against it, and nothing is said', async () => {
    const choice = await choose(selector, [failed(near, OLD), failed(far, NEW)]);
    expect(choice).toMatchObject({ backup: { target: near, backupId: NEW }, passedOver: [] });
    expect(choice).not.toHaveProperty('doubt');
    expect(describeChoice(choice)).toEqual([]);
  });

  it('one that is not known to be bad is taken for one that is, and that is said', async () => {
    const choice = await choose(selector, [failed(near, NEW, { mode: 'quick' })]);
    expect(choice).toMatchObject({ backup: { target: far, backupId: NEW } });
    expect(choice).not.toHaveProperty('doubt');
    expect(describeChoice(choice)).toEqual([
      `of srv@${NEW}, not the copy in ${near} is used but the one in ${far}: it failed its quick verify of 2026-11-21`,
    ]);
  });
});

describe('where all copies are known to be bad', () => {
  const records = (): VerifyRecord[] => [failed(near, NEW), failed(far, NEW, { mode: 'drill' })];

  it.each(SELECTORS.slice(0, -1))('%s is refused, with each reason and what is better', async (selector) => {
    const refused = choose(selector, records());
    await expect(refused).rejects.toMatchObject({
      code: 'usage',
      message: `srv@${NEW} in ${near} is known to be bad: it failed its full verify of 2026-11-21; in ${far}: it failed its drill of 2026-11-21`,
      hint: `The newest that is not known to be bad is srv@${OLD} in ${near}. To have this one all the same, write its whole id: srv@${NEW}`,
    });
  });

  it('no other is recommended when that is bad too', async () => {
    const all = [...records(), failed(near, OLD), failed(far, OLD)];
    await expect(choose('srv', all)).rejects.toMatchObject({
      hint: expect.stringContaining('No backup of the job is known to be better.') as string,
    });
    await expect(choose('srv', [...records(), failed(near, OLD)])).rejects.toMatchObject({
      hint: expect.stringContaining(`srv@${OLD} in ${far}.`) as string,
    });
  });

  it('its whole id means it, and so does somebody who only looks; it is told', async () => {
    for (const choice of [
      await choose(`srv@${NEW}`, records()),
      await choose('srv', records(), { mayBeBad: true }),
    ]) {
      expect(choice).toMatchObject({ backup: { target: near, backupId: NEW }, passedOver: [] });
      expect(describeChoice(choice)).toEqual([
        `srv@${NEW} in ${near} may be bad: it failed its full verify of 2026-11-21`,
      ]);
    }
  });

  it('one that was found good since is taken', async () => {
    const cleared = [...records(), failed(far, NEW, { mode: 'drill', outcome: 'ok' })];
    expect(await choose('srv', cleared)).toMatchObject({ backup: { target: far } });
  });
});

describe('a backup that shares with one that is bad', () => {
  it('is taken only where no better copy is, with a doubt', async () => {
    for (const target of [near, far]) {
      const ref = { target, job: 'web', backupId: OLD };
      await makeBackup(ref, { completedAt: '2026-11-19T01:00:05.000Z' });
    }
    await makeBackup(
      { target: near, job: 'web', backupId: NEW },
      { completedAt: '2026-11-20T01:00:05.000Z' },
    );
    const records = [failed(near, NEW, { job: 'web' })];
    expect(await choose('web@2026-11-19', records)).toMatchObject({ backup: { target: far } });
    const alone = await choose('web@2026-11-19', records, { targets: [near] });
    expect(alone.doubt).toBe(
      `it may share what is bad in another: the backup ${NEW} failed its full verify of 2026-11-21`,
    );
  });

  it('is not recommended where another copy of the same backup is better', async () => {
    for (const target of [near, far]) {
      const ref = { target, job: 'web', backupId: OLD };
      await makeBackup(ref, { completedAt: '2026-11-19T01:00:05.000Z' });
    }
    await makeBackup(
      { target: near, job: 'web', backupId: NEW },
      { completedAt: '2026-11-20T01:00:05.000Z' },
    );
    await expect(choose('web', [failed(near, NEW, { job: 'web' })])).rejects.toMatchObject({
      hint: expect.stringContaining(`web@${OLD} in ${far}.`) as string,
    });
  });

  it('is told as that where it is all that is left, and after one that was proven since', async () => {
    const older = '20261118T010000Z-dddddd';
    for (const [backupId, day] of [
      [older, '18'],
      [OLD, '19'],
      [NEW, '20'],
    ] as const) {
      const completedAt = `2026-11-${day}T01:00:05.000Z`;
      await makeBackup({ target: near, job: 'web', backupId }, { completedAt });
    }
    const bad = failed(near, NEW, { job: 'web' });
    await expect(choose('web', [bad], { targets: [near] })).rejects.toMatchObject({
      hint: expect.stringContaining(
        `The newest that is not known to be bad is web@${OLD} in ${near}, and it may share what is bad: \`fsbackup backups verify web@${OLD} --full\` tells.`,
      ) as string,
    });
    const proven = { ...bad, backupId: older, outcome: 'ok' } as const;
    await expect(choose('web', [bad, proven], { targets: [near] })).rejects.toMatchObject({
      hint: expect.stringContaining(
        `The newest that nothing speaks against is web@${older} in ${near}; web@${OLD} in ${near} is newer, and may share what is bad.`,
      ) as string,
    });
  });

  it('is known to be bad when it cannot be restored without that one, or that one is gone', async () => {
    const ref = { target: near, job: 'img', backupId: NEW };
    await makeBackup({ ...ref, backupId: OLD }, { engine: 'image', completedAt: '2026-11-19T01:00:05.000Z' });
    const completedAt = '2026-11-20T01:00:05.000Z';
    await makeBackup(ref, { engine: 'image', needs: [OLD], completedAt });
    await expect(choose('img', [failed(near, OLD, { job: 'img' })])).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(`it needs what failed: the backup ${OLD} failed`) as string,
    });
    await rm(path.join(near, 'img', OLD), { recursive: true });
    await expect(choose('img', [])).rejects.toThrow(
      `it cannot be restored without the backup ${OLD}, which is not there`,
    );
  });
});

describe('a history that cannot be read', () => {
  it('keeps nobody from their data, and is told', async () => {
    const warnings: string[] = [];
    const known = await knownVerifications(
      'srv',
      [],
      (message) => void warnings.push(message),
      () => Promise.reject(new Error('EIO: i/o error')),
    );
    expect(warnings).toEqual(['whether a backup failed its last verify is not known here: EIO: i/o error']);
    const warn = (): void => undefined;
    const chosen = await chooseCopy([near], 'srv', { verifications: known, mayBeBad: false, warn });
    expect(chosen.backup.backupId).toBe(NEW);
  });
});

it('suggests none of another host, and takes the latest of this one', async () => {
  const other = '20261121T010000Z-cccccc';
  const completedAt = '2026-11-21T01:00:05.000Z';
  const host = { name: 'other', id: '0'.repeat(32) };
  await makeBackup({ target: near, job: 'srv', backupId: other }, { engine: 'tar', completedAt, host });
  expect((await choose('srv', [])).backup.backupId).toBe(NEW);
  expect((await choose(`srv@${other}`, [])).backup.backupId).toBe(other);
  await expect(choose('srv', [failed(near, NEW), failed(far, NEW)])).rejects.toMatchObject({
    hint: expect.stringContaining(`The newest that is not known to be bad is srv@${OLD}`) as string,
  });
});
