import path from 'node:path';
import { build } from 'esbuild';
import { RECORD_WRITER } from './record-writer-file.js';

/** Translates the writer of records into `directory`, for the guests of the lab. */
export async function buildRecordWriter(directory: string): Promise<void> {
  await build({
    absWorkingDir: path.resolve(import.meta.dirname, '../..'),
    entryPoints: [RECORD_WRITER.source],
    outfile: path.join(directory, RECORD_WRITER.compiled),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
}
