import { describe, expect, it } from 'vitest';
import {
  formatNote,
  MAX_NOTE_BYTES,
  parseNote,
  type NotedCopy,
} from '../../../src/copy/rsync-remote/rsync-remote-note.js';

const backup = { job: 'srv', backupId: '20261123T184500Z-1a2b3c' };
const copy: NotedCopy = {
  backup,
  host: 'old-host',
  completedAt: '2026-11-23T18:46:00.000Z',
  consistency: 'filesystem',
  sources: ['/srv', '/a "b" ü\n'],
  files: 3,
  bytes: 9,
  unreadable: [String.raw`/srv/\001`],
  digests: { algorithm: 'xxh128', sha256: 'a'.repeat(64), entries: 4, unknown: 1, sizeBytes: 100 },
};

function changed(change: object): string {
  return JSON.stringify({ ...(JSON.parse(formatNote(copy)) as object), ...change });
}

describe('the note of a backup on another host', () => {
  it('tells what the copy knew', () => {
    const { backup: _, ...facts } = copy;
    expect(parseNote(formatNote(copy), backup)).toEqual({ version: 1, ...backup, ...facts });
  });

  it('may lack what was not known', () => {
    const note = parseNote(formatNote({ ...copy, consistency: undefined, digests: undefined }), backup);
    expect(note).not.toHaveProperty('problem');
    expect(note).not.toHaveProperty('consistency');
    expect(note).not.toHaveProperty('digests');
  });

  it('stays within what is read, whatever there is to tell', () => {
    const long = (at: string): string => `${at}/${'x'.repeat(4000)}`;
    const unreadable = Array.from({ length: 100 }, (_, index) => long(`/srv/${index}${'ü'.repeat(6000)}`));
    const sources = Array.from({ length: 400 }, (_, index) => long(`/data${index % 2}/${index}`));
    const text = formatNote({ ...copy, unreadable, sources });
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_NOTE_BYTES);
    const note = parseNote(text, backup);
    // What they lie in restores them all.
    expect(note).toMatchObject({ sources: ['/data0', '/data1'] });
    expect('unreadable' in note && note.unreadable.length > 0 && note.unreadable.length < 100).toBe(true);
  });

  it.each([
    ['no JSON', '{"version": 1', 'no JSON'],
    ['nothing', '', 'no JSON'],
    ['another kind', '[]', 'expected object'],
    ['too large', changed({ host: 'x'.repeat(MAX_NOTE_BYTES) }), 'too large'],
    ['a later version', changed({ version: 2 }), 'version'],
    ['that of another job', changed({ job: 'other' }), 'that of other@'],
    [
      'that of another backup',
      changed({ backupId: '20261123T184500Z-ffff' }),
      'that of srv@20261123T184500Z-ffff',
    ],
    ['a job that leads elsewhere', changed({ job: '../srv' }), 'job'],
    ['a source that leads elsewhere', changed({ sources: ['/srv/../etc'] }), 'sources.0'],
    ['a source that is no path', changed({ sources: ['srv'] }), 'sources.0'],
    ['a source with a slash at its end', changed({ sources: ['/srv/'] }), 'sources.0'],
    ['a source with a NUL', changed({ sources: ['/srv\0'] }), 'sources.0'],
    ['no source', changed({ sources: [] }), 'sources'],
    ['a time that is none', changed({ completedAt: 'yesterday' }), 'completedAt'],
    ['less than no files', changed({ files: -1 }), 'files'],
    ['another digest', changed({ digests: { ...copy.digests, algorithm: '--exec=x' } }), 'digests.algorithm'],
    [
      'a list that fills disks',
      changed({ digests: { ...copy.digests, sizeBytes: 1e15 } }),
      'digests.sizeBytes',
    ],
  ])('is not believed when it is %s', (_, text, problem) => {
    expect(parseNote(text, backup)).toEqual({ problem: expect.stringContaining(problem) as string });
  });
});
