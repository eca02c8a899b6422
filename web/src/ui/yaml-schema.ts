import type { Place } from './yaml-place';

/** What we use of JSON Schema for completion. */
export interface JSONSchema {
  $ref?: string;
  $defs?: Record<string, JSONSchema>;
  type?: string;
  description?: string;
  const?: string;
  enum?: string[];
  properties?: Record<string, JSONSchema | boolean>;
  items?: JSONSchema;
  oneOf?: JSONSchema[];
  anyOf?: JSONSchema[];
  allOf?: JSONSchema[];
  if?: JSONSchema;
  then?: JSONSchema;
}

export interface Offer {
  label: string;
  detail?: string;
  info?: string;
}

/** Every schema that a value at a place may be of, with conditions that its neighbours decide. */
function* alternatives(
  root: JSONSchema,
  schema: JSONSchema | boolean | undefined,
  neighbours: Record<string, string>,
  depth = 8,
): Generator<JSONSchema> {
  if (!schema || schema === true || depth === 0) return;
  const next = (s: JSONSchema | boolean | undefined) => alternatives(root, s, neighbours, depth - 1);
  if (schema.$ref) yield* next(root.$defs?.[schema.$ref.replace('#/$defs/', '')]);
  if (schema.if) {
    const holds = Object.entries(schema.if.properties ?? {}).every(
      ([key, s]) => typeof s === 'boolean' || s.const === undefined || neighbours[key] === s.const,
    );
    if (holds) yield* next(schema.then);
  }
  yield schema;
  for (const one of [...(schema.oneOf ?? []), ...(schema.anyOf ?? []), ...(schema.allOf ?? [])]) yield* next(one);
}

/** What may be typed at a place. */
export function offersAt(root: JSONSchema, place: Place): Offer[] {
  let here: (JSONSchema | boolean | undefined)[] = [root];
  const expand = (beside: Record<string, string>) => here.flatMap((s) => [...alternatives(root, s, beside)]);
  const into = (schemas: JSONSchema[], key: string) =>
    schemas.flatMap((s) => {
      if (key === '[]') return s.items ? [s.items] : [];
      return s.properties && Object.hasOwn(s.properties, key) ? [s.properties[key]] : [];
    });
  for (const { key, beside } of place.path) here = into(expand(beside), key);
  const schemas = expand(place.siblings);
  if (place.key === undefined) {
    return schemas.flatMap((s) =>
      Object.entries(s.properties ?? {})
        .filter(([key]) => !Object.hasOwn(place.siblings, key))
        .map(([label, p]) => ({ label, ...(typeof p === 'object' ? tell(root, p) : {}) })),
    );
  }
  here = into(schemas, place.key);
  return expand({}).flatMap((s) => [
    ...(s.const !== undefined ? [{ label: String(s.const), info: s.description }] : []),
    ...(s.enum ?? []).map((label) => ({ label: String(label) })),
    ...(s.type === 'boolean' ? [{ label: 'true' }, { label: 'false' }] : []),
  ]);
}

const tell = (root: JSONSchema, schema: JSONSchema): Omit<Offer, 'label'> => {
  const resolved = schema.$ref ? (root.$defs?.[schema.$ref.replace('#/$defs/', '')] ?? schema) : schema;
  return { detail: resolved.type, info: schema.description ?? resolved.description };
};
