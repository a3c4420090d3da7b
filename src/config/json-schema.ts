import * as z from 'zod';
import { configSchema } from './schema.js';

/**
 * JSON Schema (draft 2020-12) of the main file as it is written, for editors. What spans several values (a job's
 * `commands`, the times of a freeze) only `config validate` checks.
 */
export function configJsonSchema(): object {
  return { title: 'fsbackup configuration', ...z.toJSONSchema(configSchema, { io: 'input' }) };
}
