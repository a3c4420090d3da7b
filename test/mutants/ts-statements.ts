import { SyntaxKind, type Node } from 'typescript/unstable/ast';
import { isBlock, isReturnStatement } from 'typescript/unstable/ast/is';
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

/** Of an `if`, a `try` or a block alone: what comes after its last statement is what comes after it. */
const THROUGH: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.IfStatement,
  SyntaxKind.TryStatement,
  SyntaxKind.CatchClause,
  SyntaxKind.Block,
]);

const FUNCTIONS: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
  SyntaxKind.Constructor,
]);

/** Whether nothing comes after a node in its function. */
function isLast(node: Node): boolean {
  const { parent } = node;
  if (isBlock(parent) && parent.statements.at(-1) !== node) return false;
  return THROUGH.has(parent.kind) ? isLast(parent) : FUNCTIONS.has(parent.kind);
}

/** `return undefined`, and nothing more would come: it is there for the reader. */
function doesNothing(node: Node): boolean {
  return (
    isReturnStatement(node) && ['undefined', undefined].includes(node.expression?.getText()) && isLast(node)
  );
}

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
      if (KINDS.has(node.kind) && node.parent !== file && !doesNothing(node))
        statements.push(statementAt(source, node.getStart(file), node.getEnd()));
      node.forEachChild(visit);
    };
    file.forEachChild(visit);
    return statements;
  } finally {
    api.close();
  }
}
