import path from 'node:path';
import process from 'node:process';
import { defineConfig } from 'vitest/config';
import { EMULATED_NODE } from '../test/support/node-command.js';

// How vitest runs in a guest. What is run is named on its command line: test/lab unless asked otherwise.
export default defineConfig({
  test: {
    root: path.resolve(import.meta.dirname, '..'),
    include: ['test/**/*.test.ts'],
    // Those boot guests.
    exclude: ['test/lab-host/**'],
    fileParallelism: false,
    // What they share is loaded once.
    isolate: false,
    // The workers; vitest itself needs WebAssembly.
    execArgv: [...EMULATED_NODE],
    // A file may have nothing for this guest. That some test was run is seen from the report.
    passWithNoTests: true,
    // Bounds against hanging; software emulation is slow, and a guest beside the tests of the host is slower by ten times.
    testTimeout: 1_200_000,
    hookTimeout: 1_200_000,
    // Hours of it: each test is told when it ends, so that a run which is cut short has shown something.
    reporters: [process.env['FSBACKUP_LAB_THOROUGH'] === '1' ? 'verbose' : 'default', 'json'],
    outputFile: { json: '/results/tests.json' },
    cache: false,
  },
});
