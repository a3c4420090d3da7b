import path from 'node:path';
import * as z from 'zod';
import { printable } from '../printable.js';
import { ReferenceFile } from '../repository/reference.js';
import { rootAttributes } from '../root-attributes.js';

/** By which a backup is found again. */
export const resticReference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    /** The id of the snapshot in the repository. */
    snapshot: z.string().min(1),
    /** The id of its content, the digest of all that is in it, where that was asked for. */
    tree: z.string().min(1).exactOptional(),
    /** Of `/`, where that is a source: restic has no place for them. */
    root: rootAttributes.exactOptional(),
  }),
);

/** A path that restic told, as on the live system. */
export function toLivePath(item: string, tree: string): string {
  const inside = item === tree || item.startsWith(`${tree}/`) ? item.slice(tree.length) : item;
  // Of a file whose attributes it could not read it tells the name as it lies in the snapshot, without a slash.
  return printable(Buffer.from(path.join('/', inside), 'utf8').toString('latin1'));
}
