import { expect, test } from 'vitest';
import { createProject, mistakesOf, SCRIPT, setPackages } from './script-project';

const project = createProject();
const wrong = (text: string) => {
  project.updateFile(SCRIPT, text);
  return mistakesOf(project).map((m) => m.message);
};

test('a script of the documentation is right', () => {
  expect(
    wrong(`
interface Queue { name: string; waiting: number }

const response = await fetch(process.env.API + "/queues")
if (!response.ok) throw new Error(\`the API says \${response.status}\`)
const queues: Queue[] = await response.json()
const worst = queues.reduce((a, b) => (a.waiting > b.waiting ? a : b))
console.log("looked at", queues.length, "queues of", context.system.name)
return { success: worst.waiting < 100, message: \`\${worst.name} has \${worst.waiting} waiting\`, value: worst.waiting }
`),
  ).toEqual([]);
});

test('a mistake is told with line and column', () => {
  expect(wrong('const a = 1\n  a.toUpper()')).toEqual(["2:5 Property 'toUpper' does not exist on type '1'."]);
  expect(wrong('const t = document.title')).toEqual([expect.stringMatching(/^1:11 Cannot find name 'document'/)]);
  expect(wrong('const a = ;')).toEqual(['1:11 Expression expected.']);
});

test('the fleet’s packages may be imported, others are said to be missing', () => {
  setPackages(project, ['zod', '@a/b']);
  expect(wrong("import { z } from 'zod'\nimport x from '@a/b/c.js'\nreturn z(x).ok")).toEqual([]);
  expect(wrong("import y from 'yup'\nreturn y")).toEqual([
    "1:15 'yup' is not among the fleet’s packages. Add it on the page Packages, or with: perigee package add NAME@VERSION",
  ]);
});

test('what follows is offered with its members', () => {
  project.updateFile(SCRIPT, 'context.system.');
  const offered = project.languageService.getCompletionsAtPosition(SCRIPT, 15, {});
  expect(offered?.entries.map((e) => e.name)).toEqual(['id', 'metadata', 'name']);
});
