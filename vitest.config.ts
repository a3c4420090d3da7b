import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Those run in the guests of the lab, or boot them.
    exclude: ['test/lab/**', 'test/lab-host/**'],
    // Freezes and loop devices are host-wide: files run one after the other.
    fileParallelism: false,
    // In one process, which loads once what they share: to start one for each takes longer than most files.
    isolate: false,
    // Generous on purpose: a bound against hanging for ever, never a measurement.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ['default'],
    // It would lie in node_modules: a test run as root leaves nothing in the checkout.
    cache: false,
  },
});
