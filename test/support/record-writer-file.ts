/** Where the program is, from the project's root, and its name once it is translated. */
export const RECORD_WRITER = {
  source: 'test/support/record-writer.ts',
  compiled: 'record-writer.mjs',
} as const;
