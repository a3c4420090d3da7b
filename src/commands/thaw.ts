import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { FsbackupError, messageOf } from '../errors.js';
import { exitCode, worstExitCode } from '../exit-codes.js';
import { jsonFlag } from '../flags.js';
import { freezeIdFlag } from '../freeze-flags.js';

export default class Thaw extends BaseCommand {
  static override summary = 'Thaw what fsbackup froze.';
  static override description =
    'Exits 21 when a freeze had been lost before, so that the snapshot taken under it is bad. Where others freeze the same filesystem, --freeze says which is meant; without it 21 is also what thaws a freeze while an earlier one was lost and nobody has asked for that. --all thaws what is held, and says nothing of what was lost: a script that took a snapshot names its mountpoints. What is not ours is not touched (exit 20), except with --force: a bare FITHAW, the emergency exit for anything that is frozen.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> /srv',
    '<%= config.bin %> <%= command.id %> --all',
  ];
  static override usage = 'thaw (MOUNTPOINT... [--freeze ID | --force] | --all [--orphaned]) [--json]';
  static override strict = false;
  static override args = { mountpoint: Args.string({ description: 'Where the filesystem is mounted.' }) };
  static override flags = {
    all: Flags.boolean({
      default: false,
      summary: 'Thaw everything that fsbackup holds frozen.',
      exclusive: ['force'],
    }),
    orphaned: Flags.boolean({
      default: false,
      summary:
        'Of all, only what a command that is dead had frozen; nothing that a run or a freeze by hand holds.',
    }),
    freeze: freezeIdFlag({ exclusive: ['all', 'force'] }),
    force: Flags.boolean({ default: false, summary: 'Thaw whoever froze it.' }),
    json: jsonFlag,
  };

  // The emergency exit is open whatever has become of them.
  protected override readonly believesState = false;

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(Thaw);
    const mountpoints = argv.map(String);
    if (flags.all === mountpoints.length > 0) {
      throw new FsbackupError('usage', flags.all ? '--all takes no mountpoint' : 'no mountpoint to thaw', {
        hint: 'Name mountpoints, or say --all.',
      });
    }
    if (flags.orphaned && !flags.all) {
      throw new FsbackupError('usage', '--orphaned goes with --all', {
        hint: 'A mountpoint that is named is thawed whoever had fsbackup freeze it.',
      });
    }
    const { thaw } = await import('../freeze/early-thaw.js');
    const { thawed, failures } = await thaw(
      flags.all
        ? { all: true, orphaned: flags.orphaned }
        : {
            all: false,
            mountpoints,
            force: flags.force,
            ...(flags.freeze === undefined ? {} : { freezeId: flags.freeze }),
          },
    );
    if (!flags.json) {
      for (const mountpoint of thawed) this.printLines(`Thawed: ${mountpoint}`);
      if (thawed.length + failures.length === 0) this.print('Nothing was frozen by fsbackup.');
    }
    // One failure is told as every command tells its error; of several each is told, and the worst is the exit code.
    if (failures.length === 1 && thawed.length === 0) throw failures[0];
    const codes = failures.map((error) =>
      error instanceof FsbackupError ? error.exitCode : exitCode('bug'),
    );
    for (const error of failures)
      this.printError(error instanceof FsbackupError ? error.lines : [messageOf(error)]);
    if (flags.json) this.printJson({ version: 1, thawed, errors: failures.map(messageOf) });
    if (codes.length > 0) this.exit(worstExitCode(codes));
  }
}
