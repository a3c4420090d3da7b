import path from 'node:path';
import { defineConfig } from 'vitest/config';

// The tests of the lab itself, which run on the host and boot guests.
export default defineConfig({
  test: {
    root: path.resolve(import.meta.dirname, '..'),
    include: ['test/lab-host/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    reporters: ['default'],
    cache: false,
  },
});
