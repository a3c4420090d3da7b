import { mkdir, readdir, rename } from 'node:fs/promises';
import { exists } from '../../system/exists.js';
import type { runCommand } from '../../system/run-command.js';
import { makeInside } from '../make-inside.js';
import { removeTree } from '../remove-tree.js';
import type { FoundTrees, ResumeTrees } from './resumption.js';

/** The trees of a copy into a directory of this host, which exists. */
export class LocalTrees implements ResumeTrees {
  readonly place = 'here';
  readonly incomplete: string;
  readonly earlier: string;
  readonly known: string;
  readonly fresh: string;
  readonly run: typeof runCommand;

  constructor(dataDirectory: string, run: typeof runCommand) {
    this.incomplete = dataDirectory;
    this.earlier = `${dataDirectory}+earlier`;
    this.known = `${dataDirectory}+known`;
    this.fresh = `${dataDirectory}+new`;
    this.run = run;
  }

  async prepare(former: string | undefined): Promise<FoundTrees> {
    await removeTree(this.fresh);
    if (former === undefined) await this.forget();
    if ((await readdir(this.incomplete)).length > 0) {
      // Where `earlier` is still there nothing has been copied after it.
      if (former !== undefined && !(await exists(this.earlier))) await rename(this.incomplete, this.earlier);
      else await removeTree(this.incomplete);
      await mkdir(this.incomplete, { mode: 0o700 });
    }
    const [hasEarlier, hasKnown] = await Promise.all([exists(this.earlier), exists(this.known)]);
    // A disk may have been pulled out, or its filesystem shut down and mounted again, in one boot of the machine.
    return { instance: '', hasEarlier, hasKnown };
  }

  async renew(): Promise<void> {
    await makeInside(this.fresh);
    await removeTree(this.known);
    await rename(this.fresh, this.known);
    await removeTree(this.earlier);
  }

  async forget(): Promise<void> {
    for (const directory of [this.earlier, this.known, this.fresh]) await removeTree(directory);
  }
}
