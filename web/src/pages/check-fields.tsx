import type { Special } from '../ui/schema-fields';

/** Fields of checks that are more than a line of text. */
export const special: Special = () => undefined;
