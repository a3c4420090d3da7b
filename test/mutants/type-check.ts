import path from 'node:path';
import { API } from 'typescript/unstable/sync';

/**
 * The compiler over a checkout, which stays loaded: it looks once more at one file in some hundredths of a second, where
 * `npm run check:types` takes seconds.
 */
export class TypeCheck {
  readonly #api: API;
  readonly #config: string;

  constructor(checkout: string) {
    this.#config = path.join(checkout, 'tsconfig.json');
    this.#api = new API({ cwd: checkout });
    this.#api.updateSnapshot({ openProjects: [this.#config] });
  }

  /** What the compiler says first of a file, as it is now; undefined: nothing. */
  errorIn(file: string): string | undefined {
    const project = this.#api.updateSnapshot({ fileChanges: { changed: [file] } }).getProject(this.#config);
    if (project === undefined) throw new Error(`${this.#config} is not open`);
    const { program } = project;
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)][0]?.text;
  }

  close(): void {
    this.#api.close();
  }
}
