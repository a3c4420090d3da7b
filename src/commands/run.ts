import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { worstExitCode } from '../exit-codes.js';
import { jsonFlag, logJsonFlag } from '../flags.js';
import { durationFlag } from '../freeze-flags.js';
import { jobFlags, jobSelection } from '../job-flags.js';

export default class Run extends BaseCommand {
  static override summary = 'Freeze, snapshot, thaw, and copy from the snapshot.';
  static override description =
    'Runs jobs of the configuration one after the other, or one that is described by flags. The failure of one does not stop the next; the exit code is the worst.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> srv --lock-wait 10m --quiet',
    '<%= config.bin %> <%= command.id %> --job srv --source /srv --to /backup',
  ];
  static override strict = false;
  static override args = {
    job: Args.string({ description: 'Jobs of the configuration; none: all of them.' }),
  };
  static override flags = {
    ...jobFlags,
    'dry-run': Flags.boolean({ summary: 'Show the plan and do nothing.' }),
    'lock-wait': durationFlag('Wait so long for another run of the job or to the target to end.'),
    quiet: Flags.boolean({ summary: 'Say nothing unless something is wrong.' }),
    json: jsonFlag,
    'log-json': logJsonFlag,
  };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(Run);
    const { selectJobs } = await import('../run/select-jobs.js');
    const jobs = await selectJobs(jobSelection(flags, argv.map(String), process.env));
    const { requirePrivilege } = await import('../system/privilege.js');
    requirePrivilege(jobs.flatMap((job) => job.sources));
    if (flags['dry-run']) {
      const { planJobs, printable } = await import('../run/plan-jobs.js');
      const { planHost } = await import('../run/host.js');
      const { exitCodeOfPlans } = await import('../run/examine-plan.js');
      const { renderPlan } = await import('../plan/render-plan.js');
      const plans = await planJobs(jobs, planHost(), { force: flags.force });
      if (flags.json) this.printJson(printable(plans));
      else this.print(plans.map(renderPlan).join('\n\n'));
      const code = exitCodeOfPlans(plans);
      if (code !== 0) this.exit(code);
      return;
    }
    const { chooseReporter } = await import('../report/choose-reporter.js');
    const { createRunHost } = await import('../run/host.js');
    const { runJobs } = await import('../run/run-job.js');
    const { withSignals } = await import('../system/signals.js');
    const reporter = await chooseReporter({
      json: flags.json,
      logJson: flags['log-json'],
      quiet: flags.quiet,
      isTTY: process.stderr.isTTY,
      env: process.env,
    });
    const host = await createRunHost();
    const options = { force: flags.force, lockWaitMs: flags['lock-wait'] ?? 0, reporter };
    const reports = await withSignals(process, (signal) => runJobs(jobs, host, { ...options, signal }));
    if (flags.json) this.printJson(jobs.length === 1 ? reports[0] : reports);
    const code = worstExitCode(reports.map((report) => report.exitCode));
    if (code !== 0) this.exit(code);
  }
}
