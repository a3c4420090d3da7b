import { randomBytes } from 'node:crypto';
import { chmod, chown, link, mkdir, open, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from '../../test/support/throwaway-filesystem.js';

const ORDINARY_FILES = 200;

/** Fills a directory with what a restore can get wrong: owners, modes, times, links, holes, attributes, odd names. */
export async function fillWithFiles(directory: string): Promise<void> {
  const at = (name: string): string => path.join(directory, name);
  for (let index = 0; index < ORDINARY_FILES; index += 1) {
    const below = at(`tree/${index % 10}`);
    await mkdir(below, { recursive: true });
    await writeFile(path.join(below, `file-${index}`), randomBytes(index * 97));
  }
  await writeFile(at('private'), 'for one user alone\n');
  await chown(at('private'), 4321, 8765);
  await chmod(at('private'), 0o600);
  await writeFile(at('old'), 'from another century\n');
  await utimes(at('old'), 915_148_799, 915_148_799);
  await writeFile(at('a name with spaces, ünïcode\nand a line end'), '\n');
  await link(at('old'), at('hard link'));
  await symlink('old', at('symbolic link'));
  await symlink('/nowhere', at('dangling link'));
  const holes = await open(at('holes'), 'w');
  await holes.write('an island', 8 * 1024 * 1024);
  await holes.close();
  await writeFile(at('attributes'), 'beside the point\n');
  await must('setfattr', '-n', 'user.colour', '-v', 'blue', at('attributes'));
  await must('setfacl', '-m', 'u:4321:rw', at('attributes'));
  await must('mknod', at('null device'), 'c', '1', '3');
  await must('mkfifo', at('fifo'));
}
