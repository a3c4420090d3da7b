import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { configJsonSchema } from '../../../src/config/json-schema.js';
import { copySample } from '../../support/config-fixtures.js';

describe('configJsonSchema', () => {
  // Read back by zod, whose JSON Schema reader stands in for an editor's.
  const schema = z.fromJSONSchema(configJsonSchema() as Parameters<typeof z.fromJSONSchema>[0]);

  it('accepts every key that there is', async () => {
    await using sample = await copySample('valid', 'everything.yaml');
    expect(schema.safeParse(parse(await readFile(sample.file, 'utf8'))).error).toBeUndefined();
  });

  it.each(['unknown-key', 'relative-paths', 'job-names', 'bad-duration', 'missing-sources', 'engine'])(
    'refuses %s',
    async (name) => {
      await using sample = await copySample('invalid', `${name}.yaml`);
      expect(schema.safeParse(parse(await readFile(sample.file, 'utf8'))).success).toBe(false);
    },
  );
});
