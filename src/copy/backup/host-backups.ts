import { isSameHost, type HostIdentity } from '../../system/this-host.js';
import type { Manifest } from './manifest.js';

/** The host that a backup tells of; undefined where it tells of none, as those of earlier versions. */
export function hostOf({ host, found }: Pick<Manifest, 'host' | 'found'>): HostIdentity | undefined {
  if (host !== undefined) return host;
  return found === undefined || found.host === '' ? undefined : { name: found.host };
}

/** Whether another host than `self` is known to have made it. */
export function isOfAnother(manifest: Pick<Manifest, 'host' | 'found'>, self: HostIdentity): boolean {
  const host = hostOf(manifest);
  return host !== undefined && !isSameHost(host, self);
}

/**
 * Those that `self` made, or nobody knows who: a target may be shared, and jobs of several hosts have one name. All of them
 * where other hosts made all.
 */
export function preferOwn<Of extends { manifest: Pick<Manifest, 'host' | 'found'> }>(
  backups: readonly Of[],
  self: HostIdentity,
): Of[] {
  const own = backups.filter(({ manifest }) => !isOfAnother(manifest, self));
  return own.length > 0 ? own : [...backups];
}

/** What to tell where the latest was wanted, and there is none of `self`: a sentence without its full stop. */
export function describeForeign(
  { job, backupId, manifest }: { job: string; backupId: string; manifest: Pick<Manifest, 'host' | 'found'> },
  self: HostIdentity,
): string[] {
  if (!isOfAnother(manifest, self)) return [];
  const { name = '' } = hostOf(manifest) ?? {};
  const which = name === self.name ? `another host of this name, ${name}` : `another host, ${name}`;
  return [`${job}@${backupId} was made by ${which}: there is none that this host made`];
}
