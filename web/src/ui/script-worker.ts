import { expose } from 'comlink';
import { type Known, Project, type Runtime } from './script-project';

/** A project; what there is in a runtime of the machine is much, and loaded where one is asked for. */
async function projectIn(runtime: Runtime): Promise<Project> {
  if (runtime === 'builtin') return new Project();
  const { BUN, NODE } = await import('./script-node');
  return new Project({ name: runtime, files: NODE, beside: runtime === 'bun' ? BUN : '' });
}

let source = '';
let begun: Promise<Project> | undefined;
let load: (name: string) => Promise<Known> = async () => ({ unread: 'nobody reads it' });
const learning = new Map<string, Promise<void>>();

/** The project, when all that there is to know of what is imported is known. */
async function informed(): Promise<Project> {
  begun ??= projectIn('builtin');
  const project = await begun;
  project.write(source);
  const learn = async (name: string) => project.learn(name, await load(name));
  for (const name of project.unknown()) if (!learning.has(name)) learning.set(name, learn(name));
  await Promise.all(learning.values());
  return project;
}

const service = {
  /** Which packages are on the list, what the script runs in, and who reads types of packages. */
  begin(names: string[], runtime: Runtime, reads: typeof load) {
    load = reads;
    begun = projectIn(runtime).then((project) => {
      project.list(names);
      return project;
    });
  },
  write(text: string) {
    source = text;
  },
  mistakes: async () => (await informed()).mistakes(),
  offers: async (place: number) => (await informed()).offers(place),
  told: async (place: number) => (await informed()).told(place),
  signature: async (place: number) => (await informed()).signature(place),
};

export type Service = typeof service;

expose(service);
