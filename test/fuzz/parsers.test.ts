import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { ConfigError } from '../../src/config/problems.js';
import { JOB_NAME_PATTERN } from '../../src/config/schema.js';
import type { Config } from '../../src/config/types.js';
import { parseLvs } from '../../src/system/lvm.js';
import { parseMountinfo } from '../../src/system/mountinfo.js';
import { fuzzBudget } from './budget.js';
import { mutate, randomFrom } from './mutate.js';

/** A single input that takes longer does so by the parser's fault, however busy the machine is. */
const TOO_LONG_MS = 20_000;
const HUNG_TASK_MS = 120_000;
const FIXTURES = path.resolve(import.meta.dirname, '../fixtures/config');

function texts(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(directory, name))
    .filter((file) => statSync(file).isFile())
    .map((file) => readFileSync(file, 'utf8'));
}

/** Tries the corpus, then mutations of it for as long as there is time. Rejects with the input that failed. */
async function fuzz(
  name: string,
  corpus: readonly string[],
  tryOne: (text: string) => Promise<void> | void,
): Promise<number> {
  const { seconds, seed } = fuzzBudget();
  const random = randomFrom(seed);
  const until = performance.now() + seconds * 1000;
  let count = 0;
  for (; count < corpus.length || performance.now() < until; count += 1) {
    const text = corpus[count] ?? mutate(corpus, random);
    const begun = performance.now();
    try {
      await tryOne(text);
      expect(performance.now() - begun, 'milliseconds').toBeLessThan(TOO_LONG_MS);
    } catch (error) {
      throw new Error(`seed ${seed}, input ${count}: ${JSON.stringify(text)}`, { cause: error });
    }
  }
  console.log(`${name}: ${count} inputs, seed ${seed}`);
  return count;
}

/** What a parser gave, or threw. */
async function outcome<T>(parse: () => T | Promise<T>): Promise<{ value?: T; error?: unknown }> {
  try {
    return { value: await parse() };
  } catch (error) {
    return { error };
  }
}

describe('parsers under fire', () => {
  it('mountinfo: gives what has the documented shape, and never throws', async () => {
    const corpus = texts(path.join(import.meta.dirname, 'corpus/mountinfo'));
    const count = await fuzz('mountinfo', corpus, (text) => {
      for (const mount of parseMountinfo(text)) {
        expect(Number.isSafeInteger(mount.mountId) || mount.mountId > 2 ** 53).toBe(true);
        expect(mount.mountpoint.startsWith('/')).toBe(true);
        expect(mount.majorMinor).toMatch(/^\d+:\d+$/);
      }
    });
    expect(count).toBeGreaterThan(corpus.length);
  });

  it('mountinfo: gives back every name that the kernel escapes', async () => {
    const escape = (name: string): string =>
      name.replaceAll(/[ \t\n\\#]/g, (one) => `\\${(one.codePointAt(0) ?? 0).toString(8).padStart(3, '0')}`);
    const count = await fuzz('mountinfo names', ['a b', 'x\ny', '\\040', '#', 'é\t'], (name) => {
      // What the kernel hands out has neither, and ends a name at the other.
      const clean = name.replaceAll(/[\0\uD800-\uDFFF]/g, '');
      const line = `22 1 254:0 /${escape(clean)} /${escape(clean)} rw - ext4 /dev/x rw`;
      expect(parseMountinfo(line)).toMatchObject([{ root: `/${clean}`, mountpoint: `/${clean}` }]);
    });
    expect(count).toBeGreaterThan(5);
  });

  it('lvs: gives volumes whose numbers are numbers, or refuses the report', async () => {
    const corpus = texts(path.join(import.meta.dirname, 'corpus/lvs'));
    let understood = 0;
    await fuzz('lvs', corpus, async (text) => {
      const { value: volumes = [] } = await outcome(() => parseLvs(text));
      understood += volumes.length > 0 ? 1 : 0;
      for (const { sizeBytes, vgFreeBytes, vgExtentBytes, majorMinor = '0:0', ...volume } of volumes) {
        for (const bytes of [sizeBytes, vgFreeBytes, vgExtentBytes]) expect(bytes).toBeGreaterThanOrEqual(0);
        for (const percent of [volume.dataPercent, volume.syncPercent, volume.pool?.dataPercent]) {
          expect(percent ?? 0).toBeGreaterThanOrEqual(0);
        }
        expect(majorMinor).toMatch(/^\d+:\d+$/);
      }
    });
    expect(understood).toBeGreaterThan(2);
  });
});

/** What is wrong with a configuration that was taken. */
function faultsOf({ jobs }: Config): string[] {
  return jobs.flatMap(({ name, sources, targets, freeze }) => {
    const paths = [...sources, ...targets].map((one) => one.path);
    return [
      ...(JOB_NAME_PATTERN.test(name) ? [] : [`name ${name}`]),
      ...paths.filter((one) => !one.startsWith('/') || one.split('/').includes('..')),
      ...(freeze.maxHoldMs < HUNG_TASK_MS ? [] : ['held too long']),
    ];
  });
}

/** What is wrong with a refusal. */
function faultsOfRefusal(error: unknown, text: string): string[] {
  if (!(error instanceof ConfigError)) return [`no ConfigError: ${String(error)}`];
  const lines = text.split(/\r\n|\r|\n/).length;
  return error.problems
    .filter(({ message, line }) => message === '' || !(line >= 1 && line <= lines))
    .map((problem) => JSON.stringify(problem));
}

describe('a configuration under fire', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'fuzz-config-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('is taken whole, or refused with what is wrong and where', async () => {
    const file = path.join(directory, 'config.yaml');
    const corpus = [...texts(FIXTURES), ...texts(path.join(import.meta.dirname, 'corpus/config'))];
    let taken = 0;
    await fuzz('configuration', corpus, async (text) => {
      writeFileSync(file, text, { mode: 0o600 });
      const options = { configFile: file, env: {}, freezes: [], hungTaskTimeoutMs: HUNG_TASK_MS };
      const { value, error } = await outcome(() => loadConfig(options));
      taken += value === undefined ? 0 : 1;
      expect(value === undefined ? faultsOfRefusal(error, text) : faultsOf(value)).toEqual([]);
    });
    expect(taken).toBeGreaterThan(0);
  });
});
