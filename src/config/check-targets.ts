import { canKeepIn, ENGINE_NAMES } from '../engine-names.js';
import { parseSshPlace } from '../system/ssh-place.js';
import type { Complaint, ValuePath } from './problems.js';
import type { RawJob } from './schema.js';
import { checkCommands } from './check-commands.js';

/** What only a repository has. */
const OF_REPOSITORIES = [
  'initialise',
  'password',
  'environment',
  'options',
  'commands',
  'exitCodes',
] as const;

/** What is wrong with where the targets of a job lie, as written. Pure; `path` is the job's. */
export function checkTargets({ targets, keep }: RawJob, path: ValuePath): Complaint[] {
  return targets.flatMap((written, index) => {
    const target = typeof written === 'string' ? { path: written } : written;
    const complaint = (key: string | undefined, message: string): Complaint => ({
      path: [...path, 'targets', index, ...(key === undefined ? [] : [key])],
      message,
      at: 'value',
    });
    const { engine = 'rsync', repository } = target;
    if (repository === undefined) {
      const stray = OF_REPOSITORIES.filter((key) => target[key] !== undefined);
      return [
        ...(target.path === undefined ? [complaint(undefined, 'missing: path, or repository')] : []),
        ...stray.map((key) => complaint(key, 'used with a repository alone')),
        ...(canKeepIn(engine, 'path')
          ? []
          : [complaint('path', `${engine} writes to a repository: name it`)]),
      ];
    }
    const able = ENGINE_NAMES.filter((name) => canKeepIn(name, 'repository'));
    const ofCommands: Complaint[] = [];
    checkCommands({ ...target, engine }, keep, (key, message) => ofCommands.push(complaint(key, message)));
    return [
      ...ofCommands,
      ...(target.path === undefined ? [] : [complaint('path', 'either path or repository, not both')]),
      ...(target.mustBeMountpoint === undefined
        ? []
        : [
            complaint('mustBeMountpoint', 'of a directory alone: a repository is told from any other anyhow'),
          ]),
      ...(engine === 'rsync' && parseSshPlace(repository) === undefined
        ? [
            complaint(
              'repository',
              'rsync reaches other hosts by ssh: write ssh://user@host/srv/backups or user@host:/srv/backups, or path for a directory of this one',
            ),
          ]
        : []),
      ...(canKeepIn(engine, 'repository')
        ? []
        : [
            complaint(
              'repository',
              `${engine} writes to a directory: name its path${able.length === 0 ? '' : `, or an engine with repositories (${able.join(', ')})`}`,
            ),
          ]),
    ];
  });
}
