import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { FsbackupError } from '../../errors.js';
import type { runCommand } from '../../system/run-command.js';
import { siblingData } from '../btrfs/btrfs-contents.js';
import type { ListRequest } from '../engine.js';
import type { MountStep } from '../filesystem/mounted-trees.js';
import { treesBelow } from '../filesystem/open-trees.js';
import type { OpenedTrees, OpenRequest, OpenTrees } from '../filesystem/opened-trees.js';
import { withScratchPool } from './scratch-pool.js';
import { requireStored } from '../stored/stored-file.js';
import { HashingStream, mustPipe } from '../stream-pipe.js';
import { readZfsContents, zfsStreamFile, type SentZfsSnapshot, type ZfsContents } from './zfs-contents.js';
import { atPlaceOf, type ZfsStore } from './zfs-target.js';

type Run = typeof runCommand;
type Argv = [string, ...string[]];

/** What feeds `zfs receive`. */
interface Feed {
  argv: Argv;
  bytes: number;
}

function refuse({ origin, kind, isRaw }: SentZfsSnapshot): FsbackupError | undefined {
  if (kind === 'volume') {
    return new FsbackupError(
      'usage',
      `the backup holds the volume ${origin}, in which no paths can be looked for`,
      {
        hint: 'Receive it into a pool, as docs/restore-without-fsbackup.md tells, and mount its device.',
      },
    );
  }
  if (!isRaw) return undefined;
  return new FsbackupError('usage', `${origin} was sent encrypted, and its key is not in the backup`, {
    hint: 'Receive it into a pool, as docs/restore-without-fsbackup.md tells, and load its key.',
  });
}

/** The streams that a snapshot is made of, the full one first. */
async function streamsOf(dataDirectory: string, contents: ZfsContents, name: string): Promise<Feed[]> {
  const feeds: Feed[] = [];
  let [at, known] = [dataDirectory, contents];
  for (let wanted: string | undefined = name; wanted !== undefined;) {
    const current: string = wanted;
    const sent: SentZfsSnapshot | undefined = known.snapshots.find((one) => one.name === current);
    if (sent === undefined) throw new Error(`${at} has no ${current}`);
    const file = path.join(at, zfsStreamFile(current));
    await requireStored(file);
    feeds.unshift({ argv: ['zstd', '-q', '--decompress', '--stdout', '--', file], bytes: sent.bytes });
    wanted = sent.parent?.name;
    if (sent.parent === undefined) break;
    at = siblingData(at, sent.parent.backupId);
    known = await readZfsContents(at);
  }
  return feeds;
}

/** What must be received of a backup that cannot be mounted where it is; undefined where it can. */
async function feedsOf(
  { dataDirectory }: OpenRequest,
  contents: ZfsContents,
  store: ZfsStore | undefined,
): Promise<Map<string, Feed[]> | undefined> {
  if (contents.kind === 'dataset' && store?.place.host === undefined) return undefined;
  const feeds = new Map<string, Feed[]>();
  for (const { name, dataset = '', bytes } of contents.snapshots) {
    if (contents.kind === 'stream') feeds.set(name, await streamsOf(dataDirectory, contents, name));
    else if (store !== undefined) {
      const snapshot = `${dataset}@${name}`;
      const argv = atPlaceOf(store.place, ['zfs', 'send', '-Lce', snapshot]);
      // All of it is sent, and not what the backup was an increment by.
      const whole = Number((await store.get('referenced', snapshot)) ?? 0);
      feeds.set(name, [{ argv, bytes: Math.max(bytes, whole) }]);
    }
  }
  return feeds;
}

/** Opens what the zfs-send engine wrote: mounted where it was received, or received into a pool of its own. */
export function zfsOpener(store: ZfsStore | undefined, run: Run): OpenTrees {
  return async (request, use) => {
    const { scratch, journal, signal, onProgress } = request;
    const contents = await readZfsContents(request.dataDirectory);
    const feeds = await feedsOf(request, contents, store);
    for (const sent of contents.snapshots) {
      const refused = sent.kind === 'volume' || feeds !== undefined ? refuse(sent) : undefined;
      if (refused !== undefined) throw refused;
    }
    const mounted = async (sourceOf: ReadonlyMap<string, string>): Promise<OpenedTrees> => {
      const mounts: MountStep[] = [];
      for (const [name, source] of sourceOf) {
        const at = path.join(scratch, name);
        await mkdir(at, { mode: 0o700 });
        mounts.push({ fstype: 'zfs', options: 'ro', source, at });
      }
      return {
        trees: treesBelow(contents.trees, ({ snapshot }) => path.join(scratch, snapshot)),
        mounts,
        scratch,
      };
    };
    if (feeds === undefined) {
      const sources = contents.snapshots.map(
        ({ name, dataset = '' }) => [name, `${dataset}@${name}`] as const,
      );
      return await use(await mounted(new Map(sources)));
    }
    const bytes = [...feeds.values()].flat().reduce((sum, feed) => sum + feed.bytes, 0);
    return await withScratchPool({ scratch, bytes, journal, run }, async (pool) => {
      const sources = new Map<string, string>();
      for (const [name, links] of feeds) {
        const dataset = `${pool}/${sources.size}`;
        for (const { argv } of links) {
          const set = ['-o', 'readonly=on', '-o', 'acltype=posix'];
          const to = ['zfs', 'receive', '-u', ...set, dataset] as const;
          const through = new HashingStream((done) => onProgress({ bytes: done, files: 0 }));
          await mustPipe({ from: argv, to, through, signal }, run);
        }
        sources.set(name, `${dataset}@${name}`);
      }
      return await use(await mounted(sources));
    });
  };
}

/** `CopyEngine.roomToRestore`: what must be received, and as much again for what is copied from it. */
export async function roomForZfs(
  { dataDirectory }: ListRequest,
  store: ZfsStore | undefined,
): Promise<number> {
  const contents = await readZfsContents(dataDirectory);
  let bytes = 0;
  for (const { name, dataset = '', bytes: sent } of contents.snapshots) {
    if (contents.kind === 'stream') {
      const links = await streamsOf(dataDirectory, contents, name);
      bytes += links.reduce((sum, link) => sum + 2 * link.bytes, 0);
    } else {
      const whole = Number((await store?.get('logicalreferenced', `${dataset}@${name}`)) ?? sent);
      bytes += store?.place.host === undefined ? whole : 2 * whole;
    }
  }
  return bytes;
}
