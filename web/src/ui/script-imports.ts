const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]*)$/;

/** What is typed of a package's name, where the text of a line ends inside an import; else undefined. */
export function importedIn(line: string): string | undefined {
  return IMPORT.exec(line)?.[1];
}
