import * as z from 'zod';
import { binaryOfPython } from './borg-output.js';
import { printable } from '../printable.js';
import { ReferenceFile } from '../repository/reference.js';
import { rootAttributes } from '../root-attributes.js';

/** By which a backup is found again. */
export const borgReference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    /** The archive: its name, and its id, the digest of all that is in it. */
    archive: z.string().min(1),
    id: z.string().min(1),
    /** Of `/`, where that is a source. */
    root: rootAttributes.exactOptional(),
  }),
);

/** A path as borg told it, as on the live system. */
export function toLivePath(told: string): string {
  return `/${printable(binaryOfPython(told.replace(/^\.(?:\/|$)/, '')))}`;
}
