import type { RestoreRequest } from './engine.js';
import { literalForRestic } from './restic-excludes.js';
import { parseIgnored, parseMessage } from './restic-output.js';
import { toLivePath } from './restic-reference.js';
import type { ResticRepository } from './restic-repository.js';
import type { Extraction } from './staged-restore.js';

/** Brings a snapshot, or some paths of it, to the directory of an extraction. */
export async function extractSnapshot(
  repository: ResticRepository,
  snapshot: string,
  { staged, paths, unreadable }: Extraction,
  { signal, onProgress }: Pick<RestoreRequest, 'signal' | 'onProgress'>,
): Promise<void> {
  const sparse = (await repository.canMakeHoles()) ? ['--sparse'] : [];
  const includes = paths.map((one) => `--include=${literalForRestic(one)}`);
  let complaints = 0;
  const result = await repository.run(
    ['restore', ...sparse, '--json', `--target=${staged}`, ...includes, '--', snapshot],
    {
      signal,
      onStdoutLine: (line) => {
        const said = parseMessage(line);
        if (said?.message_type !== 'status') return;
        onProgress({ bytes: said.bytes_restored ?? 0, files: said.files_restored ?? 0 });
      },
      onStderrLine: (line) => {
        const lost = parseIgnored(line);
        if (lost === undefined) return;
        complaints += 1;
        unreadable.add(toLivePath(lost, staged));
      },
    },
  );
  const isPartial = result.exitCode === 1 && complaints > 0 && /There were \d+ errors/.test(result.stderr);
  if (result.exitCode !== 0 && !isPartial) throw repository.failure(result);
}
