import { checkShape } from './check-shape.js';
import type { ConfigProblem } from './problems.js';
import type { ConfigFiles } from './read-files.js';
import { configSchema, dropInSchema, type RawConfig, type RawJob } from './schema.js';
import type { YamlFile } from './yaml-file.js';

/** A job as written, and where. */
export interface WrittenJob {
  name: string;
  raw: RawJob;
  file: YamlFile;
}

/** What the files say, as far as its shape is right. */
export interface Written {
  main: RawConfig | undefined;
  jobs: WrittenJob[];
  problems: ConfigProblem[];
}

function readShape(
  file: YamlFile,
  schema: typeof configSchema | typeof dropInSchema,
): { raw: RawConfig | undefined; problems: ConfigProblem[] } {
  if (file.problems.length > 0) return { raw: undefined, problems: file.problems };
  const checked = checkShape<typeof configSchema | typeof dropInSchema>(schema, file.value);
  if ('value' in checked) return { raw: checked.value, problems: [] };
  return { raw: undefined, problems: checked.complaints.map((complaint) => file.locate(complaint)) };
}

/** Checks the shape of all files and joins their jobs: in the order written, conf.d's after the main file's. */
export function joinFiles({ main, dropIns }: ConfigFiles): Written {
  const problems: ConfigProblem[] = [];
  const jobs = new Map<string, WrittenJob>();
  const take = (file: YamlFile, schema: typeof configSchema | typeof dropInSchema): RawConfig | undefined => {
    const shape = readShape(file, schema);
    problems.push(...shape.problems);
    for (const [name, raw] of Object.entries(shape.raw?.jobs ?? {})) {
      const earlier = jobs.get(name);
      if (earlier === undefined) {
        jobs.set(name, { name, raw, file });
        continue;
      }
      const message = `the job is defined in ${earlier.file.file} too`;
      problems.push(file.locate({ path: ['jobs', name], message, at: 'key' }));
    }
    return shape.raw;
  };
  const raw = take(main, configSchema);
  for (const file of dropIns) take(file, dropInSchema);
  return { main: raw, jobs: [...jobs.values()], problems };
}
