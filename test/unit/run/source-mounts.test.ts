import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  lostMount,
  rememberMounts,
  requireSameMounts,
  sourceMountsFile,
} from '../../../src/run/source-mounts.js';
import { aFilesystem, sourceFacts } from '../../support/plan-facts.js';
import { successfulReport } from '../../support/run-reports.js';

/** A source at `realPath`, which lies on the mount at `mountpoint`. */
function lying(realPath: string, mountpoint: string, narrowedFrom?: string) {
  const narrowed = narrowedFrom === undefined ? {} : { narrowedFrom };
  return sourceFacts(aFilesystem({ mountpoint, ...narrowed }), realPath);
}

describe('the mount that a source lost', () => {
  it.each([
    ['at its path', '/srv/data', '/srv', ['/srv/data'], '/srv/data'],
    ['above it', '/srv/data/a/b', '/', ['/etc', '/srv/data'], '/srv/data'],
  ])('is one %s whose directory is now of the filesystem above', (_, realPath, now, before, lost) => {
    expect(lostMount(lying(realPath, now), before)).toBe(lost);
  });

  it.each([
    ['the same is there', '/srv/data', '/srv/data', ['/srv/data']],
    ['it has a mount of its own since', '/srv/data', '/srv/data', ['/']],
    ['another source had it', '/etc', '/', ['/srv/data', '/']],
    ['its symlink leads elsewhere now', '/mnt/b', '/', ['/mnt/a']],
    ['nothing was recorded', '/srv/data', '/', []],
  ])('is none where %s', (_, realPath, now, before) => {
    expect(lostMount(lying(realPath, now), before)).toBeUndefined();
  });

  it('is told of a subvolume by where its filesystem is mounted', () => {
    expect(lostMount(lying('/srv/sub', '/srv/sub', '/srv'), ['/srv'])).toBeUndefined();
    expect(lostMount(lying('/srv/sub', '/srv/sub', '/'), ['/srv'])).toBe('/srv');
  });
});

describe('what is recorded', () => {
  let state: string;
  beforeEach(async () => {
    state = await mkdtemp(path.join(os.tmpdir(), 'source-mounts-'));
  });
  afterEach(async () => {
    await rm(state, { recursive: true });
  });

  /** Of a run whose sources were mounted there. */
  function reportOf(mountedAt: string, copies = successfulReport().copies) {
    const sources = successfulReport().sources.map((source) => ({ ...source, mountedAt }));
    return { job: 'srv', copies, sources };
  }

  it('refuses a source that is not mounted, until another backup or a person says otherwise', async () => {
    const unmounted = lying('/srv/data', '/');
    await requireSameMounts('srv', unmounted, state);
    await rememberMounts(reportOf('/srv/data'), state);
    const refused = requireSameMounts('srv', unmounted, state);
    await expect(refused).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('/srv/data is not mounted') as string,
      hint: expect.stringContaining(sourceMountsFile('srv', state)) as string,
    });
    await requireSameMounts('web', unmounted, state);
    // A run that made no backup is none to compare with.
    await rememberMounts(reportOf('/', []), state);
    await expect(requireSameMounts('srv', unmounted, state)).rejects.toMatchObject({ code: 'usage' });
    await rm(sourceMountsFile('srv', state));
    await requireSameMounts('srv', unmounted, state);
    await rememberMounts(reportOf('/'), state);
    await requireSameMounts('srv', unmounted, state);
  });

  it('is refused when it is damaged, with what to do', async () => {
    await rememberMounts(reportOf('/srv/data'), state);
    await writeFile(sourceMountsFile('srv', state), '{');
    await expect(requireSameMounts('srv', lying('/srv/data', '/srv/data'), state)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('is damaged') as string,
    });
  });
});
