/** Whether a field is for a place of the document; one that ends with a star is for all below it too. */
export function says(field: string, place: string): boolean {
  if (!field.endsWith('*')) return field === place;
  const top = field.slice(0, -1);
  return place === top || place.startsWith(`${top}.`) || place.startsWith(`${top}[`);
}

/** Whether an error at a place has a field that says it. */
export const placed = (place: string, fields: Set<string>): boolean => [...fields].some((field) => says(field, place));

/** What is wrong at the place of a field; undefined when nothing is. */
export const wordsAt = (errors: { location?: string; message?: string }[], field: string): string | undefined =>
  errors
    .filter((e) => says(field, e.location ?? ''))
    .map((e) => e.message)
    .join('; ') || undefined;
