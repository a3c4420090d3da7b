import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { build, type PluginBuild } from 'esbuild';

// `tsx scripts/bundle.ts DIRECTORY [FAULT_POINT_MODULE]`: builds src/ into DIRECTORY, all that it needs included. Loading some 700 files was
// most of the time that a short command took (docs/decisions/0016-one-bundle.md). TypeScript is checked by
// `npm run check:types`. Tests of faults put a module that acts in the place of src/system/fault-point.ts.

const ROOT = path.resolve(import.meta.dirname, '..');

async function modulesIn(directory: string): Promise<string[]> {
  const names = await readdir(path.join(ROOT, directory), { recursive: true });
  return names.filter((name) => name.endsWith('.ts')).map((name) => path.join(directory, name));
}

const [outdir = path.join(ROOT, 'dist'), faultPointModule] = process.argv.slice(2);

const actingFaultPoints = {
  name: 'acting fault points',
  setup(bundling: PluginBuild): void {
    if (faultPointModule === undefined) return;
    bundling.onResolve({ filter: /\/fault-point\.js$/ }, () => ({ path: path.resolve(faultPointModule) }));
  },
};

await rm(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  // What bin/run.js and oclif load by their names.
  entryPoints: [
    'src/main.ts',
    'src/freeze/early-thaw.ts',
    'src/help.ts',
    ...(await modulesIn('src/hooks')),
    ...(await modulesIn('src/commands')),
  ],
  outdir: path.resolve(outdir),
  outbase: 'src',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  plugins: [actingFaultPoints],
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // Beside each file, the licences of what is in it.
  legalComments: 'linked',
  // Some of what is needed is CommonJS, and asks for Node's own modules by `require`.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
  },
  logLevel: 'warning',
});
