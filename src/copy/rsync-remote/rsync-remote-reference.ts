import * as z from 'zod';
import { ReferenceFile } from '../repository/reference.js';

/** Which backup of another host an entry of the catalogue stands for. */
export const remoteReference = new ReferenceFile(
  z.object({
    version: z.literal(1),
    job: z.string().min(1),
    backupId: z.string().min(1),
    /** Of one that was found there: how large its list of digests is at most. */
    listBytes: z.number().exactOptional(),
  }),
);
