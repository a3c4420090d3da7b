import { isWithin } from '../../system/mountinfo.js';

/** What the trees of a backup were read from, by their path on the live system: as `treeOrigin` names it. */
export type Origins = Readonly<Record<string, string>>;

/** A source of a copy. */
interface Tree {
  path: string;
  origin?: string | undefined;
}

/** What these are read from, where that is known. */
export function originsOf(sources: readonly Tree[]): Origins {
  return Object.fromEntries(
    sources.flatMap(({ path, origin }) => (origin === undefined ? [] : [[path, origin]])),
  );
}

/** What both tell of alike. */
export function commonOrigins(one: Origins, other: Origins | undefined): Origins {
  return Object.fromEntries(Object.entries(one).filter(([path, origin]) => other?.[path] === origin));
}

/**
 * The paths of those sources that are not known to be what an earlier copy was read from, by its origins: undefined where
 * nobody knows. Of files of another filesystem, or another host, neither size nor times nor inode numbers prove that their
 * content is the same. A tree within a source that was one of its own then, and is none now, was another filesystem too.
 * Pure.
 */
export function unprovenTrees(sources: readonly Tree[], before: Origins | undefined): Set<string> {
  const paths = new Set(sources.map(({ path }) => path));
  const gone = Object.keys(before ?? {}).filter((path) => !paths.has(path));
  return new Set(
    sources
      .filter(
        ({ path, origin }) => before?.[path] !== origin || gone.some((inside) => isWithin(inside, path)),
      )
      .map(({ path }) => path),
  );
}
