import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build, type BuildOptions, type Plugin } from 'esbuild';
import { describeFailure, runCommand } from '../src/system/run-command.js';

// `tsx scripts/bundle.ts [DIRECTORY [FAULT_POINT_MODULE]]`: builds src/ into DIRECTORY, all that it needs included. Nearly all is one
// file, with V8's code cache beside it: loading some 700 files was most of the time that a short command took
// (docs/decisions/0016-one-bundle.md, 0033-a-code-cache.md). TypeScript is checked by `npm run check:types`. Tests of faults put a
// module that acts in the place of src/system/fault-point.ts.

const ROOT = path.resolve(import.meta.dirname, '..');
const CACHE_LIMIT_MS = 120_000;

const [directory = path.join(ROOT, 'dist'), faultPointModule] = process.argv.slice(2);
const outdir = path.resolve(directory);

/** The modules that oclif loads by their names, below src/ and without their endings. */
async function partNames(): Promise<string[]> {
  const names = await readdir(path.join(ROOT, 'src'), { recursive: true });
  return names
    .filter((name) => /^(?:commands\/.*|hooks\/.*|help)\.ts$/.test(name))
    .map((name) => name.slice(0, -'.ts'.length))
    .toSorted();
}

/** Has imports of these modules of src/ be of `file`. */
function replaced(modules: readonly string[], file: string, { external }: { external: boolean }): Plugin {
  const paths = new Set(modules.map((name) => path.join(ROOT, 'src', name)));
  return {
    name: `${modules.join(', ')}: ${file}`,
    setup: (bundling) =>
      bundling.onResolve({ filter: /^\..*\.js$/ }, ({ resolveDir, path: name }) =>
        paths.has(path.resolve(resolveDir, name)) ? { path: file, external } : undefined,
      ),
  };
}

const faultPoints =
  faultPointModule === undefined
    ? []
    : [replaced(['system/fault-point.js'], path.resolve(faultPointModule), { external: false })];

/** Of what CommonJS has under another name. */
const RENAMED = { 'import.meta.url': 'urlOfFile', 'import.meta.dirname': '__dirname' };
const URL_OF_FILE = "const urlOfFile = require('node:url').pathToFileURL(__filename).href;";

/** Bundles `contents`, a module of TypeScript, into one of CommonJS: its text, and that of the licences of what is in it. */
async function bundled(
  contents: string,
  options: BuildOptions = {},
): Promise<{ code: string; licences: string }> {
  const { outputFiles = [] } = await build({
    stdin: { contents, resolveDir: ROOT, loader: 'ts' },
    absWorkingDir: ROOT,
    outfile: 'bundle.cjs',
    write: false,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20.19',
    legalComments: 'linked',
    plugins: faultPoints,
    define: RENAMED,
    banner: { js: URL_OF_FILE },
    // A script has none; all that would be imported is CommonJS.
    supported: { 'dynamic-import': false },
    logLevel: 'warning',
    ...options,
  });
  const text = (ending: string): string => outputFiles.find((file) => file.path.endsWith(ending))?.text ?? '';
  return { code: text('.cjs'), licences: text('.LEGAL.txt') };
}

async function put(name: string, text: string | Buffer): Promise<string> {
  const file = path.join(outdir, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

/**
 * As src/boot/code-file.ts reads it. esbuild has escaped all that is not ASCII, but in regular expressions, where the escape is the
 * same, in comments, where it does not matter, and in raw templates.
 */
function inLatin1(code: string): Buffer {
  if (/String\.raw`[^`]*[^\0-\xff]/u.test(code)) throw new Error('a raw template has what latin1 has not');
  // By UTF-16 code units, which escapes are of.
  const escaped = code.replaceAll(
    // oxlint-disable-next-line require-unicode-regexp
    /[^\0-\xff]/g,
    (unit) => `\\u${unit.codePointAt(0)?.toString(16).padStart(4, '0')}`,
  );
  return Buffer.from(escaped, 'latin1');
}

const parts = await partNames();
const loaders = parts.map((name) => `  '${name}': () => require('./src/${name}.js'),\n`);
const early = await bundled("export * from './src/boot/early.js';");
const rest = await bundled(
  `export { main } from './src/main.js';\nexport const parts = {\n${loaders.join('')}};\n`,
  {
    // src/boot/code-file.ts runs it.
    banner: { js: `(function (exports, require, module, __filename, __dirname) {${URL_OF_FILE}` },
    footer: { js: '})' },
    plugins: [
      ...faultPoints,
      replaced(['errors.js', 'freeze/early-thaw.js'], './early.cjs', { external: true }),
    ],
  },
);
const code = inLatin1(rest.code);
const digest = createHash('sha256').update(code).digest('hex').slice(0, 16);
const codeFile = `code-${digest}.js`;
const define = { ...RENAMED, CODE_FILE: `'${codeFile}'` };

await rm(outdir, { recursive: true, force: true });
await put('early.cjs', early.code);
await put(codeFile, code);
await put(`${codeFile}.LEGAL.txt`, rest.licences);
await put('code.cjs', (await bundled("export * from './src/boot/code.js';", { define })).code);
const maker = await put(
  'make-code-cache.cjs',
  (await bundled("import './src/boot/make-code-cache.js';", { define })).code,
);
for (const name of parts) {
  const up = path.relative(path.dirname(name), '.');
  await put(
    `${name}.cjs`,
    `exports.default = require('./${path.join(up, 'code.cjs')}').parts['${name}']().default;\n`,
  );
}
const making = await runCommand([process.execPath, maker], { env: {}, timeoutMs: CACHE_LIMIT_MS });
if (making.exitCode !== 0) throw new Error(describeFailure('make-code-cache', making));
