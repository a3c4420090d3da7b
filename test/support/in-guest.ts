import path from 'node:path';
import process from 'node:process';

/** Whether this runs in a guest of the lab: emulated as a rule, where each look at something takes the time of ten on the host. */
export const IS_IN_GUEST = process.env['FSBACKUP_LAB_GUEST'] !== undefined;

/** In the copy of the checkout that a guest has, which has no compiler: what the host has compiled (lab/build/job.ts puts it there). */
export const PREBUILT = path.resolve(import.meta.dirname, '../../.lab/chaos');
