#!/usr/bin/env node
import { createRequire } from 'node:module';

// Not by `import()`: to find the names that a module of CommonJS exports, Node would load a parser first.
const require = createRequire(import.meta.url);
// A frozen server waits for this one: it begins before the rest is loaded, which takes longer than the thaw.
if (process.argv[2] === 'thaw') await require('../dist/early.cjs').beginThaw(process.argv.slice(3));
await require('../dist/code.cjs').main();
