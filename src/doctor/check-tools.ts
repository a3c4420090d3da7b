import type { Need, ToolState } from './facts.js';
import { ok, problem, warning, type Finding } from './finding.js';

/** Who needs something: `job srv`, `/srv`. A need without anybody is none. */
export type Needs = ReadonlyMap<Need, readonly string[]>;

/** Without the self-test a run is as safe; it only cannot take the best mode. */
function isDispensable(need: Need): boolean {
  return need === 'the self-test';
}

function checkTool(tool: ToolState, needs: Needs): Finding {
  const { program, need, version, isInstalled, unfit } = tool;
  const check = `tool-${program}`;
  const users = needs.get(need) ?? [];
  const lack = users.length === 0 ? ok : isDispensable(need) ? warning : problem;
  const by =
    users.length === 0 ? `only ${need} needs it` : `${need} needs it (${[...new Set(users)].join(', ')})`;
  if (!isInstalled) {
    return lack(
      check,
      `${program} is not installed; ${by}`,
      users.length === 0 ? {} : { fix: `apt install ${tool.package}` },
    );
  }
  if (unfit !== undefined) return lack(check, unfit.message, { detail: unfit.hint });
  if (version === undefined)
    return lack(check, `${program} is not the one that is known, or does not answer; ${by}`);
  return ok(check, `${program} ${version}`);
}

/** One finding for each program. */
export function checkTools(tools: readonly ToolState[], needs: Needs): Finding[] {
  return tools.map((tool) => checkTool(tool, needs));
}
