import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CACHE_DIRECTORY } from './cache.js';
import { withLock } from './lock.js';
import { must } from './process.js';

/** Lists older than this are fetched again. */
const LISTS_MAX_AGE_MS = 12 * 60 * 60_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** A binary package at one of the versions that the archive has. */
export interface ArchivePackage {
  name: string;
  version: string;
}

/** Where the machine's own apt gets Debian from: base addresses of the archive and of the security archive. */
async function machineMirrors(): Promise<{ archive: string; security: string | undefined }> {
  const targets = await must([
    'apt-get',
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE)',
    'Created-By: Packages',
  ]);
  let archive: string | undefined;
  let security: string | undefined;
  for (const line of targets.split('\n')) {
    const [address, release] = line.split(' ');
    if (address === undefined || release === undefined) continue;
    if (/^(bookworm|trixie|forky|stable|testing|sid)$/.test(release)) archive ??= address;
    if (/^(bookworm|trixie|forky|stable|testing)-security$/.test(release)) security ??= address;
  }
  if (archive === undefined) throw new Error("This machine's apt is not configured for Debian 12 or later.");
  return { archive, security };
}

/** Beside the security archive. Testing has no backports until its release is near. */
const SUITES = ['', '-updates', '-backports'] as const;

/** The sources of a release with its suites and security, in apt's one-line format. */
async function sourcesOf(release: string, suites: readonly string[]): Promise<string> {
  const { archive, security } = await machineMirrors();
  const options = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : '';
  const line = (address: string, suite: string): string => `deb ${options}${address} ${suite} main contrib\n`;
  return [
    ...suites.map((suite) => line(archive, `${release}${suite}`)),
    ...(security === undefined ? [] : [line(security, `${release}-security`)]),
  ].join('');
}

/** The machine's settings for fetching (proxy, dates of the lists, retries), as apt options. */
async function fetchOptions(): Promise<string[]> {
  const dump = await must(['apt-config', 'dump', '--format', '%F "%v";%n', 'Acquire']);
  return dump
    .split('\n')
    .filter((line) => /^Acquire::(Check-|Retries|http|https|ForceIPv)/i.test(line) && !line.endsWith('"";'));
}

/** An apt of the lab's own for one release; nothing of the machine's is changed. */
export class LabApt {
  private constructor(
    readonly release: string,
    /** The file of its sources. It names the machine's mirror: never to be copied into an image. */
    readonly sourcesFile: string,
    /** As for `--aptopt` of mmdebstrap. */
    readonly options: readonly string[],
    private readonly configFile: string,
  ) {}

  /** Its lists are fetched unless that was done a short while ago; where that fails, older ones do. */
  static async open(release: string, suites: readonly string[] = SUITES): Promise<LabApt> {
    const sources = await sourcesOf(release, suites);
    const name = `${release}-${createHash('sha256').update(sources).digest('hex').slice(0, 8)}`;
    const directory = path.join(CACHE_DIRECTORY, 'apt', name);
    const sourcesFile = path.join(directory, 'sources.list');
    const configFile = path.join(directory, 'apt.conf');
    const options = await fetchOptions();
    await mkdir(path.join(directory, 'state/lists/partial'), { recursive: true });
    await mkdir(path.join(directory, 'cache/archives/partial'), { recursive: true });
    const apt = new LabApt(release, sourcesFile, options, configFile);
    await withLock(path.join(directory, 'lock'), async () => {
      await writeFile(sourcesFile, sources);
      await writeFile(path.join(directory, 'status'), '');
      const config = [
        ...options,
        `Dir::State "${directory}/state";`,
        `Dir::State::status "${directory}/status";`,
        `Dir::Cache "${directory}/cache";`,
        `Dir::Etc::SourceList "${sourcesFile}";`,
        'Dir::Etc::SourceParts "/dev/null";',
        'Dir::Etc::Parts "/dev/null";',
        'Dir::Etc::Preferences "/dev/null";',
        'Dir::Etc::PreferencesParts "/dev/null";',
        'Acquire::Languages "none";',
        'APT::Sandbox::User "root";',
        'APT::Architecture "amd64";',
      ];
      await writeFile(configFile, `${config.join('\n')}\n`);
      const stamp = path.join(directory, 'fetched');
      const fetchedAt = (await stat(stamp).catch(() => undefined))?.mtimeMs;
      if (fetchedAt !== undefined && Date.now() - fetchedAt < LISTS_MAX_AGE_MS) return;
      try {
        await apt.run('apt-get', '-qq', 'update');
        await writeFile(stamp, '');
      } catch (error) {
        if (fetchedAt === undefined) throw error;
        console.error(`lab: the package lists of ${release} cannot be fetched; those of before are used`);
        await utimes(stamp, new Date(), new Date());
      }
    });
    return apt;
  }

  private async run(...argv: [string, ...string[]]): Promise<string> {
    return await must(argv, { env: { APT_CONFIG: this.configFile } });
  }

  /** The names of all packages that start with `prefix`. */
  async names(prefix: string): Promise<string[]> {
    const names = await this.run('apt-cache', 'pkgnames', prefix);
    return names.split('\n').filter((name) => name !== '');
  }

  /** The version that an installation would take of each package. Packages without one are left out. */
  async candidates(names: readonly string[]): Promise<ArchivePackage[]> {
    const found: ArchivePackage[] = [];
    let name = '';
    for (const line of (await this.run('apt-cache', 'policy', ...names)).split('\n')) {
      name = /^(\S+):$/.exec(line)?.[1] ?? name;
      const version = /^ +Candidate: (\S+)$/.exec(line)?.[1];
      if (version !== undefined && version !== '(none)') found.push({ name, version });
    }
    return found;
  }

  /** The names of the packages that a package depends on, alternatives included. */
  async dependencies(name: string): Promise<string[]> {
    const shown = await this.run('apt-cache', 'depends', '--important', name);
    return [...shown.matchAll(/Depends: ([^\s<>]+)$/gm)].map((match) => match[1] ?? '');
  }

  /** Fetches packages, without what they depend on, into `directory`; the files' paths. */
  async download(packages: readonly ArchivePackage[], directory: string): Promise<void> {
    await must(
      ['apt-get', '-qq', 'download', ...packages.map((wanted) => `${wanted.name}=${wanted.version}`)],
      { env: { APT_CONFIG: this.configFile }, cwd: directory },
    );
  }
}
