// What `bin/run.js` loads before everything else, built into a file of its own (scripts/bundle.ts). The rest of the code takes from
// this file what must exist once: the thaw that may have begun, and the classes of errors that it may tell of.
export * from '../errors.js';
export * from '../freeze/early-thaw.js';
