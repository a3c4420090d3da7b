import { findGuest, GUESTS } from './guests.js';
import { prepareGuest } from './prepare.js';
import { runJob, runShell } from './session.js';

const USAGE = `npm run lab -- build [--guest NAME]
npm run lab -- exec --guest NAME [--timeout SECONDS] -- COMMAND…
npm run lab -- shell --guest NAME
guests: ${GUESTS.map((guest) => guest.name).join(', ')}`;

/** A guest that broke: not a code that a command in it ends with. */
const BROKEN = 125;
const DEFAULT_TIMEOUT_SECONDS = 600;

async function main(argv: string[]): Promise<number> {
  const separator = argv.indexOf('--');
  const own = separator === -1 ? argv : argv.slice(0, separator);
  const command = separator === -1 ? [] : argv.slice(separator + 1);
  const [verb = ''] = own;
  const option = (name: string): string | undefined => {
    const index = own.indexOf(name);
    return index === -1 ? undefined : own[index + 1];
  };
  const name = option('--guest');
  switch (verb) {
    case 'build': {
      for (const guest of name === undefined ? GUESTS : [findGuest(name)]) await prepareGuest(guest);
      return 0;
    }
    case 'shell': {
      await runShell(await prepareGuest(findGuest(name ?? '')));
      return 0;
    }
    case 'exec': {
      const outcome = await runJob(await prepareGuest(findGuest(name ?? '')), {
        job: { argv: command, env: {} },
        timeoutMs: Number(option('--timeout') ?? DEFAULT_TIMEOUT_SECONDS) * 1000,
        onStdout: (chunk) => process.stdout.write(chunk),
        onStderr: (chunk) => process.stderr.write(chunk),
      });
      if (outcome.kind === 'ended') return outcome.exitCode;
      console.error(
        `${outcome.consoleTail}\nlab: the guest broke: ${outcome.reason} (${outcome.consoleFile})`,
      );
      return BROKEN;
    }
    default: {
      console.error(USAGE);
      return 2;
    }
  }
}

process.exitCode = await main(process.argv.slice(2));
