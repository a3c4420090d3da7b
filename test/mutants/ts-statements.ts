import { SyntaxKind, type Node } from 'typescript/unstable/ast';
import { createVirtualFileSystem } from 'typescript/unstable/fs';
import { API } from 'typescript/unstable/sync';
import { statementAt, type Statement } from './statement.js';

const FILE = '/source.ts';

/** What ends with a semicolon. `if`, loops and `try` are what is in them: without all of that, they do nothing. */
const KINDS: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.ExpressionStatement,
  SyntaxKind.VariableStatement,
  SyntaxKind.ReturnStatement,
  SyntaxKind.ThrowStatement,
  SyntaxKind.BreakStatement,
  SyntaxKind.ContinueStatement,
]);

/** The statements of all functions of a source file of TypeScript, in their order: those of a function within one after it. */
export function tsStatementsOf(source: string): Statement[] {
  const api = new API({ cwd: '/', fs: createVirtualFileSystem({ [FILE]: source }) });
  try {
    const project = api.updateSnapshot({ openFiles: [FILE] }).getDefaultProjectForFile(FILE);
    const file = project?.program.getSourceFile(FILE);
    if (file === undefined) throw new Error('the compiler did not read the source');
    const statements: Statement[] = [];
    const visit = (node: Node): void => {
      // What stands at the top declares what others use.
      if (KINDS.has(node.kind) && node.parent !== file)
        statements.push(statementAt(source, node.getStart(file), node.getEnd()));
      node.forEachChild(visit);
    };
    file.forEachChild(visit);
    return statements;
  } finally {
    api.close();
  }
}
