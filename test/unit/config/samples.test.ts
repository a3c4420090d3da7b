import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { loadConfig, type LoadOptions } from '../../../src/config/load.js';
import { ConfigError, formatProblem } from '../../../src/config/problems.js';
import { renderConfig } from '../../../src/config/render.js';
import { copySample, listSamples } from '../../support/config-fixtures.js';

/** No environment of whoever runs the tests, and the limit that most kernels have. */
const HOST: LoadOptions = { env: {}, freezes: [], hungTaskTimeoutMs: 120_000 };

async function problemsOf(file: string): Promise<string[]> {
  try {
    await loadConfig({ ...HOST, configFile: file });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map((problem) => formatProblem(problem));
    throw error;
  }
  return [];
}

describe('invalid samples', async () => {
  it.each(await listSamples('invalid'))('%s: exactly the problems its comments expect', async (name) => {
    await using sample = await copySample('invalid', name);
    const problems = await problemsOf(sample.file);
    expect(sample.expected).not.toHaveLength(0);
    const unexpected = problems.filter(
      (problem) => !sample.expected.some((text) => problem.startsWith(text)),
    );
    const missed = sample.expected.filter((text) => !problems.some((problem) => problem.startsWith(text)));
    expect({ unexpected, missed }).toEqual({ unexpected: [], missed: [] });
    expect(problems).toHaveLength(sample.expected.length);
  });
});

describe('valid samples', async () => {
  it.each(await listSamples('valid'))('%s: loads, and loads the same again as shown', async (name) => {
    await using sample = await copySample('valid', name);
    const config = await loadConfig({ ...HOST, configFile: sample.file });
    await using shown = await copySample('valid', 'minimal.yaml');
    await writeFile(shown.file, renderConfig(config));
    await expect(loadConfig({ ...HOST, configFile: shown.file })).resolves.toEqual(config);
  });
});
