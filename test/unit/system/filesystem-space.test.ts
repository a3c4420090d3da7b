import { describe, expect, it } from 'vitest';
import { readSpace } from '../../../src/system/filesystem-space.js';

describe('readSpace', () => {
  it('tells free and total bytes', async () => {
    const space = await readSpace('/proc');
    expect(space).toMatchObject({ freeBytes: 0, totalBytes: 0 });
    const root = await readSpace('/');
    expect(root?.totalBytes).toBeGreaterThan(root?.freeBytes ?? Infinity);
  });

  it('is undefined for a path that cannot be reached', async () => {
    expect(await readSpace('/no/such/path')).toBeUndefined();
  });
});
