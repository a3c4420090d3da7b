import process from 'node:process';

/** Whether this runs in a guest of the lab: emulated as a rule, where each look at something takes the time of ten on the host. */
export const IS_IN_GUEST = process.env['FSBACKUP_LAB_GUEST'] !== undefined;
