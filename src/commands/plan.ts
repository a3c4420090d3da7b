import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { jsonFlag } from '../flags.js';
import { jobFlags, jobSelection } from '../job-flags.js';

export default class PlanCommand extends BaseCommand {
  static override summary = 'Show what a run would do, and why.';
  static override description =
    'Looks at the host and writes nothing: how each source is snapshotted, what is frozen together and for how long at most, what is not in the backup, which targets can take it. Exits as the run would when a target cannot.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> srv',
    '<%= config.bin %> <%= command.id %> --job srv --source /srv --to /backup --json',
  ];
  static override strict = false;
  static override args = {
    job: Args.string({ description: 'Jobs of the configuration; none: all of them.' }),
  };
  static override flags = { ...jobFlags, json: jsonFlag };

  async run(): Promise<void> {
    const { flags, argv } = await this.parse(PlanCommand);
    const { selectJobs } = await import('../run/select-jobs.js');
    const { planJobs, printable } = await import('../run/plan-jobs.js');
    const { planHost } = await import('../run/host.js');
    const { exitCodeOfPlans } = await import('../run/examine-plan.js');
    const { renderPlan } = await import('../plan/render-plan.js');
    const { requirePrivilege } = await import('../system/privilege.js');
    const jobs = await selectJobs(jobSelection(flags, argv.map(String), process.env));
    requirePrivilege(jobs.flatMap((job) => job.sources));
    const plans = await planJobs(jobs, planHost(), { force: flags.force });
    if (flags.json) this.printJson(printable(plans));
    else this.print(plans.map(renderPlan).join('\n\n'));
    const code = exitCodeOfPlans(plans);
    if (code !== 0) this.exit(code);
  }
}
