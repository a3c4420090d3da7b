import { chmod, mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { entriesOf } from '../../src/copy/backup/backup-entries.js';
import { dataDirectory as dataOf, digestFile } from '../../src/copy/backup/backup-layout.js';
import type { CopyEngine, CopySource } from '../../src/copy/engine.js';
import { selectPaths } from '../../src/copy/restore/select-paths.js';
import { manifestFor } from '../support/backups.js';
import { compareTrees } from '../support/compare-trees.js';
import { backupOf, copyRequest, restoreRequest } from '../support/engine-requests.js';
import { must } from '../support/throwaway-filesystem.js';

/** What they work with. */
export interface PathsWorld {
  engine: () => CopyEngine;
  /** A new directory to copy. */
  tree: () => Promise<string>;
  /** A new empty directory for a backup, or to restore to. */
  place: () => Promise<string>;
}

function source(livePath: string, readFrom: string): CopySource {
  return { path: livePath, readFrom, exclude: [] };
}

function isInTheWay(name: string): boolean {
  return name === 'in-the-way';
}

/** What the contract of `CopyEngine` says of paths and patterns that are restored, and of what is there already. */
export function restoresOfPaths({ engine, tree, place }: PathsWorld): void {
  it('restores single paths, with the directories above them and the content of hard links', async () => {
    const original = await tree();
    await mkdir(path.join(original, 'a', 'deep'), { recursive: true });
    await mkdir(path.join(original, 'b'));
    await writeFile(path.join(original, 'a', 'file'), 'content');
    await must('ln', path.join(original, 'a', 'file'), path.join(original, 'b', 'other name'));
    await must('ln', path.join(original, 'a', 'file'), path.join(original, 'b', 'third name'));
    await writeFile(path.join(original, 'a', 'deep', '*'), 'star');
    await writeFile(path.join(original, 'a', 'deep', 'starling'), 'bird');
    await chmod(path.join(original, 'a'), 0o750);
    await utimes(path.join(original, 'a'), 0, 1_000_000_003);

    const sources = [source('/srv', original)];
    const [data, out] = [await place(), await place()];
    expect((await engine().copy(copyRequest(sources, data))).unreadable).toEqual([]);
    const wanted = ['/srv/b', '/srv/a/deep/*'];
    expect((await engine().restore(restoreRequest(sources, data, out, wanted))).unreadable).toEqual([]);
    expect(await compareTrees(path.join(original, 'b'), path.join(out, 'srv', 'b'))).toEqual([]);
    expect(await readdir(path.join(out, 'srv', 'a'))).toEqual(['deep']);
    expect(await readdir(path.join(out, 'srv', 'a', 'deep'))).toEqual(['*']);
    expect(await readdir(out)).toEqual(['srv']);
    const above = await stat(path.join(out, 'srv', 'a'));
    expect([above.mode & 0o7777, above.mtimeMs]).toEqual([0o750, 1_000_000_003_000]);
  });

  it('restores what patterns match, by words that mean the same of every engine', async () => {
    const original = await tree();
    await mkdir(path.join(original, 'a', 'deep'), { recursive: true });
    const bytes = Buffer.concat([
      Buffer.from(`${original}/a/deep/b`),
      Buffer.from([0xff]),
      Buffer.from('.conf'),
    ]);
    for (const name of ['a/one.conf', 'a/deep/\u00fc "\u{1f4be}".conf', 'a/deep/other', 'a/deep/bb.cfg'])
      await writeFile(path.join(original, name), name);
    await writeFile(bytes, 'bytes');
    await mkdir(path.join(original, 'b.conf'));
    await writeFile(path.join(original, 'b.conf', 'in a directory that matches'), 'x');
    const ref = { target: await place(), ...backupOf(original) };
    const data = dataOf(ref);
    await mkdir(data, { recursive: true, mode: 0o700 });
    const sources = [source('/srv', original)];
    const { digests } = await engine().copy(
      copyRequest(sources, data, { digests: { file: digestFile(ref), parent: undefined } }),
    );
    const manifest = manifestFor(ref, {
      engine: engine().name,
      ...(digests === undefined ? {} : { digests }),
    });
    const { signal } = new AbortController();
    const restored = async (...patterns: string[]): Promise<string[]> => {
      const entries = await entriesOf({ ...ref, state: 'complete', manifest }, engine(), signal);
      const { paths } = await selectPaths(patterns, ['/srv'], async () => entries());
      const out = await place();
      expect((await engine().restore(restoreRequest(sources, data, out, paths))).unreadable).toEqual([]);
      const found = await must('bash', '-c', 'cd "$1" && find . ! -type d -printf "%P\\n"', 'bash', out);
      return found.split('\n').toSorted();
    };
    const odd = 'srv/a/deep/\u00fc "\u{1f4be}".conf';
    const inDirectory = 'srv/b.conf/in a directory that matches';
    const bytesName = 'srv/a/deep/b\ufffd.conf';
    const all = [bytesName, odd, 'srv/a/one.conf', inDirectory];
    expect(await restored('*.conf')).toEqual(all.toSorted());
    expect(await restored('/srv/a/**/b?.conf', '/srv/a/one.conf')).toEqual([bytesName, 'srv/a/one.conf']);
    expect(await restored('/srv/*.conf')).toEqual([inDirectory]);
    expect(await restored('/srv/a/deep/b[b].*')).toEqual(['srv/a/deep/bb.cfg']);
    await expect(restored('*.none', '*.conf')).rejects.toMatchObject({ code: 'usage' });
  });

  it('overwrites and never deletes, and says what it could not restore', async () => {
    const original = await tree();
    for (const name of ['same', 'alike', 'in-the-way', 'was-a-link'])
      await writeFile(path.join(original, name), `new ${name}`);
    const sources = [source('/srv', original)];
    const [data, out] = [await place(), await place()];
    await engine().copy(copyRequest(sources, data));

    const srv = path.join(out, 'srv');
    await mkdir(path.join(srv, 'in-the-way'), { recursive: true });
    await writeFile(path.join(srv, 'in-the-way', 'precious'), 'precious');
    await writeFile(path.join(srv, 'same'), 'old and longer than the new');
    await writeFile(path.join(srv, 'alike'), 'NEW alike');
    await must('touch', '-r', path.join(original, 'alike'), path.join(srv, 'alike'));
    await writeFile(path.join(srv, 'extra'), 'extra');
    await writeFile(path.join(out, 'pointed-at'), 'untouched');
    await must('ln', '-s', '../pointed-at', path.join(srv, 'was-a-link'));

    const result = await engine().restore(restoreRequest(sources, data, out));
    expect(result.unreadable).toEqual(['/srv/in-the-way']);
    expect(await readdir(path.join(srv, 'in-the-way'))).toEqual(['precious']);
    await rename(path.join(srv, 'in-the-way', 'precious'), path.join(out, 'precious'));
    await rm(path.join(srv, 'in-the-way'), { recursive: true });
    await rm(path.join(srv, 'extra'));
    expect(await compareTrees(original, srv, { ignore: isInTheWay, ignoreRoot: true })).toEqual([]);
    expect(await must('cat', path.join(out, 'pointed-at'))).toBe('untouched');
  });

  it('names a path that is not in the backup', async () => {
    const original = await tree();
    await writeFile(path.join(original, 'x'), 'x');
    const sources = [source('/srv', original)];
    const [data, out] = [await place(), await place()];
    await engine().copy(copyRequest(sources, data));
    const result = await engine().restore(restoreRequest(sources, data, out, ['/srv/x', '/srv/missing']));
    expect(result.unreadable).toEqual(['/srv/missing']);
    expect(await readdir(path.join(out, 'srv'))).toEqual(['x']);
  });
}
