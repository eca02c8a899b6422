import { createWorker } from '@valtown/codemirror-ts/worker';
import { expose } from 'comlink';
import { createProject, mistakesOf, setPackages } from './script-project';

const project = createProject();

const service = {
  ...createWorker(() => project),
  setPackages: (names: string[]) => setPackages(project, names),
  mistakes: () => mistakesOf(project),
};

export type Service = typeof service;

expose(service);
