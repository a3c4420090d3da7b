import path from 'node:path';

/** The checkout that the lab belongs to, and whose tests it runs. */
export const CHECKOUT = path.resolve(import.meta.dirname, '..');
