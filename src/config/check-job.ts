import { sendableBy } from '../engine-names.js';
import { targetName } from '../backup-target.js';
import { DIRECTORY_PLACEHOLDER, mistypedPlaceholders, SNAPSHOT_PLACEHOLDERS } from './check-placeholders.js';
import type { Complaint, ValuePath } from './problems.js';
import type { JobConfig, SourceConfig } from './types.js';

type Complain = (path: ValuePath, message: string) => void;

function checkSource(source: SourceConfig, path: ValuePath, complain: Complain): void {
  if (source.snapshot === 'command' && source.commands === undefined) {
    complain(path, 'snapshot: command needs commands: create, expose and remove');
  }
  if (source.snapshot !== 'command' && source.commands !== undefined) {
    complain([...path, 'commands'], 'commands are used with snapshot: command alone');
  }
  if (source.commands !== undefined && !source.commands.expose.some((word) => word.includes('{directory}'))) {
    complain(
      [...path, 'commands'],
      'expose is not told where: it must show the snapshot at {directory}, as one of its arguments',
    );
  }
  for (const [name, argv] of Object.entries(source.commands ?? {})) {
    const known = [
      ...SNAPSHOT_PLACEHOLDERS,
      ...(name === 'expose' || name === 'unexpose' ? DIRECTORY_PLACEHOLDER : []),
    ];
    for (const message of mistypedPlaceholders(argv ?? [], known))
      complain([...path, 'commands', name], message);
  }
  if (source.lvm !== undefined && source.snapshot !== 'auto' && source.snapshot !== 'lvm') {
    complain([...path, 'lvm'], `with snapshot: ${source.snapshot} these settings have no effect`);
  }
  if (source.freezeMode !== 'auto' && source.snapshot === 'none') {
    complain([...path, 'freezeMode'], 'without a snapshot nothing is frozen: leave it out');
  }
  if (source.snapshot === 'btrfs' && (source.freezeMode === 'explicit' || source.freezeMode === 'native')) {
    complain(
      [...path, 'freezeMode'],
      'a snapshot of a frozen btrfs never returns: btrfs snapshots are atomic by themselves',
    );
  }
}

function complainOfRepeats(
  names: readonly string[],
  path: ValuePath,
  what: string,
  complain: Complain,
): void {
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) < index) complain([...path, index], `the ${what} "${name}" is named twice`);
  }
}

/** What is wrong with a job whose shape is right. Pure; `path` is the job's. What needs the host is the plan's. */
export function checkJob(job: JobConfig, path: ValuePath): Complaint[] {
  const complaints: Complaint[] = [];
  const complain: Complain = (at, message) => complaints.push({ path: at, message, at: 'value' });

  for (const [index, source] of job.sources.entries()) {
    checkSource(source, [...path, 'sources', index], complain);
  }
  for (const [index, target] of job.targets.entries()) {
    const excluding = job.sources.find((source) => source.exclude.length > 0);
    if (sendableBy(target.engine) !== undefined && excluding !== undefined) {
      const message = `${target.engine} sends whole filesystems: the patterns of ${excluding.path} exclude nothing`;
      complain([...path, 'targets', index], message);
    }
    if (target.engine === 'command' && excluding !== undefined) {
      const message = `the command is told of no patterns, so those of ${excluding.path} exclude nothing: let the command itself leave out what it is not to copy`;
      complain([...path, 'targets', index], message);
    }
    if (job.sources.some((source) => source.path === target.path)) {
      complain([...path, 'targets', index], `"${target.path}" is a source of this job too`);
    }
  }
  for (const message of mistypedPlaceholders(job.drill?.command ?? [], DIRECTORY_PLACEHOLDER))
    complain([...path, 'drill', 'command'], message);
  for (const [index, { before, after }] of job.quiesce.entries()) {
    if (before.length > 0 || after.length > 0) continue;
    complain([...path, 'quiesce', index], 'runs nothing: give it before, after or both');
  }
  const repeats: [string, string, string[]][] = [
    ['sources', 'source', job.sources.map((source) => source.path)],
    ['targets', 'target', job.targets.map(targetName)],
    ['quiesce', 'step', job.quiesce.map((step) => step.name)],
  ];
  for (const [key, what, names] of repeats) complainOfRepeats(names, [...path, key], what, complain);
  return complaints;
}
